CREATE TABLE IF NOT EXISTS instruction_contamination (
  collection    STRING NOT NULL COMMENT 'instruction_files.collection',
  kind          STRING NOT NULL COMMENT 'examples (of instructions) or pairs (of preferences)',
  source        STRING NOT NULL COMMENT 'instruction_files.source',
  file          STRING NOT NULL COMMENT 'instruction_files.file',
  record        BIGINT NOT NULL COMMENT 'Place of the record in its file',
  part          INT    NOT NULL COMMENT 'Place of the example in its record',
  example_id    STRING NOT NULL COMMENT 'instructions.example_id or preferences.example_id',
  contaminated_items INT NOT NULL COMMENT 'Items of benchmarks that its messages hold',
  contamination DOUBLE NOT NULL COMMENT 'Largest overlap of matches',
  benchmarks    ARRAY<STRING> NOT NULL COMMENT 'Benchmarks of these items, sorted',
  matches       ARRAY<STRUCT<column: STRING, message: INT, benchmark: STRING, item: STRING, part: STRING, kind: STRING, overlap: DOUBLE, start: INT, end: INT>> NOT NULL COMMENT 'In which column (messages, prompt, chosen, rejected) and message of it, from 0, and as document_contamination.matches, with places in the content of the message'
)
USING DELTA
COMMENT 'One row per example or pair in which items of benchmarks were found'
TBLPROPERTIES (
  'etl.key' = 'collection, kind, source, file, record, part',
  'etl.slice' = 'collection',
  'delta.constraints.something_was_found' = 'contaminated_items > 0 AND size(matches) > 0',
  'delta.constraints.overlap_is_a_share' = 'contamination > 0 AND contamination <= 1'
)
