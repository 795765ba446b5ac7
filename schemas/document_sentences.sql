CREATE TABLE IF NOT EXISTS document_sentences (
  doc_id        STRING NOT NULL COMMENT 'documents.doc_id',
  warc_filename STRING NOT NULL COMMENT 'warc_files.warc_filename',
  engine        STRING NOT NULL COMMENT 'What cut the text: goldenlake or spark-nlp, and its version; two engines cut differently',
  sentences     ARRAY<STRUCT<start: BIGINT, end: BIGINT, tokens: BIGINT>> NOT NULL COMMENT 'From start up to end, in characters of documents.text, and how many words and marks it has',
  tokens        BIGINT NOT NULL COMMENT 'Words and marks of all sentences; pieces of words for a model are in document_tokens'
)
USING DELTA
COMMENT 'One row per document with text: its sentences, in order'
TBLPROPERTIES (
  'etl.key' = 'doc_id',
  'etl.slice' = 'warc_filename',
  'delta.dataSkippingStatsColumns' = 'doc_id,warc_filename,engine,tokens'
)
