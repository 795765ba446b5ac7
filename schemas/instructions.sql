CREATE TABLE IF NOT EXISTS instructions (
  collection     STRING NOT NULL COMMENT 'instruction_files.collection',
  source         STRING NOT NULL COMMENT 'instruction_files.source',
  file           STRING NOT NULL COMMENT 'instruction_files.file',
  record         BIGINT NOT NULL COMMENT 'Place of the record in its file, from 0',
  part           INT    NOT NULL COMMENT 'Place of the example in its record, from 0: a tree of messages gives one per path',
  example_id     STRING          COMMENT 'SHA-256 of the roles and contents of messages, hex; null where import_error is set',
  prompt_id      STRING          COMMENT 'SHA-256 of the messages before the first answer, hex',
  messages       ARRAY<STRUCT<role: STRING, content: STRING>> COMMENT 'system (at most one, first), user and assistant in turn; the last is an answer',
  turns          INT             COMMENT 'Messages of the assistant',
  prompt_length  BIGINT          COMMENT 'Characters of the messages before the last answer',
  answer_length  BIGINT          COMMENT 'Characters of the last answer',
  tokens         BIGINT          COMMENT 'Tokens of all contents, by the tokenizer gpt2',
  language       STRING          COMMENT 'Language of the last answer and the message before it, by fastText lid.176',
  language_score DOUBLE          COMMENT 'Probability of language',
  scores         MAP<STRING, DOUBLE> COMMENT 'What the source itself says of the example: labels, rewards, ranks',
  license        STRING NOT NULL COMMENT 'instruction_files.license',
  generator      STRING NOT NULL COMMENT 'Who wrote the answer: the record where it says so, else instruction_files.generator',
  category       STRING NOT NULL COMMENT 'instruction_files.category',
  import_error   STRING          COMMENT 'Why the record gave no example: kind, then what was found and what was wanted'
)
USING DELTA
COMMENT 'One row per instruction example: a conversation that ends in an answer. A record that gave none has a row too'
TBLPROPERTIES (
  'etl.key' = 'collection, source, file, record, part',
  'etl.slice' = 'collection',
  'delta.constraints.an_example_or_an_error' = '(example_id IS NULL) = (import_error IS NOT NULL)'
)
