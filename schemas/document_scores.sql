CREATE TABLE IF NOT EXISTS document_scores (
  doc_id        STRING NOT NULL COMMENT 'documents.doc_id',
  warc_filename STRING NOT NULL COMMENT 'warc_files.warc_filename',
  text_hash     STRING NOT NULL COMMENT 'documents.text_hash of the text that was scored: a row with another hash is of an older text',
  scorer        STRING NOT NULL COMMENT 'Name of the scorer, such as quality, toxicity or edu: a file of conf/scorers',
  model         STRING NOT NULL COMMENT 'Which scores can be compared: scorer@fingerprint of weights and settings',
  score         DOUBLE          COMMENT 'What the model says of the whole text, on the scale of its card; null where error says why',
  level         BIGINT          COMMENT 'The score as a whole number of its scale, such as 0 to 5 of FineWeb-Edu; null where it has none',
  worst         DOUBLE          COMMENT 'Highest score of one sentence alone; null where the model looks at no sentences',
  spans         ARRAY<STRUCT<start: BIGINT, end: BIGINT, score: DOUBLE>> NOT NULL COMMENT 'Sentences that reach the threshold of the model, in characters of documents.text',
  read          BIGINT NOT NULL COMMENT 'Characters of the text that the model was shown',
  error         STRING          COMMENT 'Why there is no score: kind and message, such as too_long: ...'
)
USING DELTA
COMMENT 'One row per document and model: what the model says of the text. A new model adds rows and changes none'
TBLPROPERTIES (
  'etl.key' = 'doc_id, model',
  'etl.slice' = 'warc_filename, model',
  'delta.constraints.score_or_why_not' = '(score IS NULL) = (error IS NOT NULL)'
)
