CREATE TABLE IF NOT EXISTS document_minhash (
  doc_id        STRING NOT NULL COMMENT 'documents.doc_id',
  warc_filename STRING NOT NULL COMMENT 'warc_files.warc_filename',
  geometry      STRING NOT NULL COMMENT 'What the numbers were made with: unit and size of shingles, bands and rows, seed, version of the tokenizer. Only rows of one geometry can be compared',
  normal_hash   STRING          COMMENT 'Hash of the words in order, so that case, spaces and punctuation make no difference, 32 hex digits; null without words',
  shingle_set   STRING          COMMENT 'Hash of the set of shingles, 32 hex digits: texts that share it have Jaccard similarity 1; null without shingles',
  shingles      INT    NOT NULL COMMENT 'Distinct shingles',
  sketch        BIGINT          COMMENT 'Low bytes of eight MinHash values: sorted by it, documents lie beside their likes; null without shingles',
  bands         ARRAY<BIGINT> NOT NULL COMMENT 'Hash of the MinHash values of each band, with the number of the band in it; empty without shingles'
)
USING DELTA
COMMENT 'One row per document with text: what near duplicates are found by, the band index'
TBLPROPERTIES (
  'etl.key' = 'doc_id',
  'etl.slice' = 'warc_filename',
  'delta.constraints.shingles_make_bands' = '(shingles > 0) = (size(bands) > 0)'
)
