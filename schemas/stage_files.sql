CREATE TABLE IF NOT EXISTS stage_files (
  stage         STRING NOT NULL COMMENT 'Name of a stage that works file by file',
  warc_filename STRING NOT NULL COMMENT 'warc_files.warc_filename',
  fingerprint   STRING NOT NULL COMMENT 'Hash of the stage, its params and the state of its inputs for this file, hex'
)
USING DELTA
COMMENT 'Which archive has passed which stage, with which params: written after the rows, so a killed run repeats the stage for the file'
TBLPROPERTIES (
  'etl.key' = 'stage, warc_filename',
  'etl.slice' = 'stage, warc_filename'
)
