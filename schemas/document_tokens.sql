CREATE TABLE IF NOT EXISTS document_tokens (
  doc_id        STRING NOT NULL COMMENT 'documents.doc_id',
  warc_filename STRING NOT NULL COMMENT 'warc_files.warc_filename',
  tokenizer     STRING NOT NULL COMMENT 'Name of the tokenizer, such as gpt2',
  tokens        BIGINT NOT NULL COMMENT 'Tokens of documents.text, without special tokens'
)
USING DELTA
COMMENT 'One row per document with text: its length in tokens'
TBLPROPERTIES (
  'etl.key' = 'doc_id',
  'etl.slice' = 'warc_filename'
)
