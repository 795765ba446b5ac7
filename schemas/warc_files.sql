CREATE TABLE IF NOT EXISTS warc_files (
  warc_filename STRING  NOT NULL COMMENT 'Name of the archive: as in Common Crawl, else <crawl>/<path below the input>',
  crawl         STRING  NOT NULL COMMENT 'Common Crawl id such as CC-MAIN-2024-10, or the name given to other input',
  location      STRING  NOT NULL COMMENT 'Where the bytes are: a path, or an http(s):// or s3:// address',
  selection     STRING           COMMENT 'JSON list of [offset, length] when only chosen records were read; null for the whole file',
  status        STRING  NOT NULL COMMENT 'pending, complete, truncated (a readable prefix was kept) or failed',
  bytes         BIGINT           COMMENT 'Size of the archive as stored, in bytes; null where unknown',
  records       BIGINT           COMMENT 'Records read; each place where reading failed counts as one. Null while pending',
  captures      BIGINT           COMMENT 'Records that hold a payload, kept or pointed to. Null while pending',
  truncated     BOOLEAN NOT NULL COMMENT 'The archive ends in the middle of a record',
  error         STRING           COMMENT 'The first failure, with its byte offset; null when all went well'
)
USING DELTA
COMMENT 'One row per archive: the denominator of the ledger'
TBLPROPERTIES (
  'etl.key' = 'warc_filename',
  'etl.slice' = 'warc_filename',
  'delta.constraints.known_status' = "status IN ('pending', 'complete', 'truncated', 'failed')"
)
