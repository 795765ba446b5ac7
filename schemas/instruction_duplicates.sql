CREATE TABLE IF NOT EXISTS instruction_duplicates (
  collection   STRING NOT NULL COMMENT 'instruction_files.collection',
  kind         STRING NOT NULL COMMENT 'examples (of instructions) or pairs (of preferences)',
  source       STRING NOT NULL COMMENT 'instruction_files.source',
  file         STRING NOT NULL COMMENT 'instruction_files.file',
  record       BIGINT NOT NULL COMMENT 'Place of the record in its file',
  part         INT    NOT NULL COMMENT 'Place of the example in its record',
  example_id   STRING NOT NULL COMMENT 'Id of the example that is a duplicate',
  method       STRING NOT NULL COMMENT 'exact: same roles and contents; minhash: verified Jaccard similarity',
  duplicate_of STRING NOT NULL COMMENT 'Id of the example it repeats; of several, the smallest',
  similarity   DOUBLE NOT NULL COMMENT 'Jaccard similarity of the word shingles of the two; 1 for exact'
)
USING DELTA
COMMENT 'Examples that repeat one with a smaller place or id'
TBLPROPERTIES (
  'etl.key' = 'collection, kind, source, file, record, part',
  'etl.slice' = 'collection'
)
