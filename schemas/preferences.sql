CREATE TABLE IF NOT EXISTS preferences (
  collection     STRING NOT NULL COMMENT 'instruction_files.collection',
  source         STRING NOT NULL COMMENT 'instruction_files.source',
  file           STRING NOT NULL COMMENT 'instruction_files.file',
  record         BIGINT NOT NULL COMMENT 'Place of the record in its file, from 0',
  part           INT    NOT NULL COMMENT 'Place of the pair in its record, from 0',
  example_id     STRING          COMMENT 'SHA-256 of prompt, chosen and rejected, hex; null where import_error is set',
  prompt_id      STRING          COMMENT 'SHA-256 of prompt, hex',
  prompt         ARRAY<STRUCT<role: STRING, content: STRING>> COMMENT 'Messages up to the answers; the last is of the user',
  chosen         ARRAY<STRUCT<role: STRING, content: STRING>> COMMENT 'The answer that was preferred, and what followed it',
  rejected       ARRAY<STRUCT<role: STRING, content: STRING>> COMMENT 'The answer that was not, and what followed it',
  chosen_score   DOUBLE          COMMENT 'What the source gave the chosen answer',
  rejected_score DOUBLE          COMMENT 'What the source gave the rejected answer',
  prompt_length  BIGINT          COMMENT 'Characters of prompt',
  answer_length  BIGINT          COMMENT 'Characters of chosen',
  tokens         BIGINT          COMMENT 'Tokens of all contents, by the tokenizer gpt2',
  language       STRING          COMMENT 'Language of the chosen answer and the message before it, by fastText lid.176',
  language_score DOUBLE          COMMENT 'Probability of language',
  license        STRING NOT NULL COMMENT 'instruction_files.license',
  generator      STRING NOT NULL COMMENT 'Who wrote the answers: the record where it says so, else instruction_files.generator',
  category       STRING NOT NULL COMMENT 'instruction_files.category',
  import_error   STRING          COMMENT 'Why the record gave no pair: kind, then what was found and what was wanted'
)
USING DELTA
COMMENT 'One row per preference pair: a prompt and two answers, the better first. A record that gave none has a row too'
TBLPROPERTIES (
  'etl.key' = 'collection, source, file, record, part',
  'etl.slice' = 'collection',
  'delta.constraints.a_pair_or_an_error' = '(example_id IS NULL) = (import_error IS NOT NULL)'
)
