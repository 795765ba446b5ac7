CREATE TABLE IF NOT EXISTS document_embeddings (
  doc_id        STRING       NOT NULL COMMENT 'documents.doc_id',
  warc_filename STRING       NOT NULL COMMENT 'warc_files.warc_filename',
  model         STRING       NOT NULL COMMENT 'Which vectors can be compared: name@fingerprint of weights, tokenizer, window and precision',
  embedding     ARRAY<FLOAT> NOT NULL COMMENT 'Vector of unit length: cosine similarity is a product'
)
USING DELTA
COMMENT 'One row per document with text: what it is about, as a vector'
TBLPROPERTIES (
  'etl.key' = 'doc_id',
  'etl.slice' = 'warc_filename',
  'delta.constraints.a_vector_has_numbers' = 'size(embedding) > 0'
)
