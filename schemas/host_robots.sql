CREATE TABLE IF NOT EXISTS host_robots (
  doc_id        STRING NOT NULL COMMENT 'captures.doc_id, of a robots.txt',
  warc_filename STRING NOT NULL COMMENT 'warc_files.warc_filename',
  url_host_name STRING NOT NULL COMMENT 'captures.url_host_name',
  fetch_time    TIMESTAMP       COMMENT 'captures.fetch_time',
  fetch_status  INT             COMMENT 'captures.fetch_status: of 400 to 499 there is no such file, and all is allowed',
  text          STRING          COMMENT 'The file, its first 512,000 characters; null where there is none, or it could not be read',
  shut_out      ARRAY<STRING>   COMMENT 'Crawlers in lower case that may not fetch the front page, sorted; * where that is so for all that are not named',
  content_usage ARRAY<STRING>   COMMENT 'Preferences of Content-Usage and Content-Signal lines, such as train-ai=n, sorted',
  sitemaps      ARRAY<STRING>   COMMENT 'Addresses of sitemaps, in their order'
)
USING DELTA
COMMENT 'One row per capture of a robots.txt, found or not: what a host asks of crawlers'
TBLPROPERTIES (
  'etl.key' = 'doc_id',
  'etl.slice' = 'warc_filename'
)
