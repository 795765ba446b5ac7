CREATE TABLE IF NOT EXISTS document_contamination (
  doc_id        STRING NOT NULL COMMENT 'documents.doc_id',
  warc_filename STRING NOT NULL COMMENT 'warc_files.warc_filename',
  contaminated_items INT NOT NULL COMMENT 'Items of benchmarks that the text holds',
  contamination DOUBLE NOT NULL COMMENT 'Largest overlap of matches; 0 when there is none',
  benchmarks    ARRAY<STRING> NOT NULL COMMENT 'Benchmarks of these items, sorted',
  matches       ARRAY<STRUCT<benchmark: STRING, item: STRING, part: STRING, kind: STRING, overlap: DOUBLE, start: INT, end: INT>> NOT NULL COMMENT 'Which item (SHA-256 of its row, as evaluation_items.item) and part of it, by which evidence (ngram: a shared run of words; near: an edited copy), which share of that text of the item by weight of words, and where in documents.text, from start to before end in code points'
)
USING DELTA
COMMENT 'One row per document with text: items of benchmarks in it, also where none was found'
TBLPROPERTIES (
  'etl.key' = 'doc_id',
  'etl.slice' = 'warc_filename',
  'delta.constraints.items_are_of_matches' = '(contaminated_items = 0) = (size(matches) = 0)',
  'delta.constraints.overlap_is_a_share' = 'contamination BETWEEN 0 AND 1'
)
