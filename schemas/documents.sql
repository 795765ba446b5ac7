CREATE TABLE IF NOT EXISTS documents (
  doc_id          STRING NOT NULL COMMENT 'captures.doc_id',
  crawl           STRING NOT NULL COMMENT 'warc_files.crawl',
  url             STRING          COMMENT 'captures.url',
  url_host_name   STRING          COMMENT 'captures.url_host_name',
  fetch_time      TIMESTAMP       COMMENT 'captures.fetch_time',
  warc_filename   STRING NOT NULL COMMENT 'warc_files.warc_filename',
  title           STRING          COMMENT 'Title of the page, one line',
  text            STRING          COMMENT 'Main text, lines separated by a newline; null when extract_error is set',
  text_hash       STRING          COMMENT 'SHA-256 of the text in UTF-8, hex',
  text_length     BIGINT          COMMENT 'Characters (Unicode code points) of text',
  content_charset STRING          COMMENT 'Encoding the payload was decoded with, WHATWG name in lower case',
  extractor       STRING NOT NULL COMMENT 'Engine and version, such as trafilatura 2.3.1',
  extract_error   STRING          COMMENT 'Kind of failure and its message: empty, timeout, undecodable, crash: ...'
)
USING DELTA
COMMENT 'One row per page: its main text, or why there is none'
TBLPROPERTIES (
  'etl.key' = 'doc_id',
  'etl.slice' = 'warc_filename',
  'delta.dataSkippingStatsColumns' = 'doc_id,crawl,url_host_name,fetch_time,warc_filename,text_length',
  'delta.constraints.text_or_error' = '(text IS NULL) = (extract_error IS NOT NULL)'
)
