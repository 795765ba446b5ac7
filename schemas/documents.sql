CREATE TABLE IF NOT EXISTS documents (
  doc_id          STRING NOT NULL COMMENT 'captures.doc_id',
  crawl           STRING NOT NULL COMMENT 'warc_files.crawl',
  url             STRING          COMMENT 'captures.url',
  url_host_name   STRING          COMMENT 'captures.url_host_name',
  fetch_time      TIMESTAMP       COMMENT 'captures.fetch_time',
  warc_filename   STRING NOT NULL COMMENT 'warc_files.warc_filename',
  title           STRING          COMMENT 'Title of the page, one line',
  text            STRING          COMMENT 'Main text, lines separated by a newline; null when skipped or extract_error is set',
  text_hash       STRING          COMMENT 'SHA-256 of the text in UTF-8, hex',
  text_length     BIGINT          COMMENT 'Characters (Unicode code points) of text',
  content_charset STRING          COMMENT 'Encoding the payload was decoded with, WHATWG name in lower case',
  extractor       STRING NOT NULL COMMENT 'Engine and version, such as trafilatura 2.3.1',
  skipped         STRUCT<stage: STRING, rule: STRING, signal: STRING, value: DOUBLE, threshold: DOUBLE, detail: STRING> COMMENT 'Rule of the recipe that the page failed before its main text was cut out, and what was found; null when it was read',
  page_language   STRING          COMMENT 'Language of all text that the page shows; null where no rule asked for it before extraction',
  page_language_score DOUBLE      COMMENT 'Probability of that language, 0 to 1',
  robots          ARRAY<STRING>   COMMENT 'Directives for all crawlers, of X-Robots-Tag and the robots meta element, sorted, such as noarchive',
  robots_agents   ARRAY<STRING>   COMMENT 'Those for one crawler, such as googlebot: noindex',
  no_index        BIGINT          COMMENT '1 where all crawlers are told noindex, else 0; null where the page was not looked at',
  no_ai           BIGINT          COMMENT '1 where noai, noimageai or train-ai=n is said, else 0',
  tdm_reserved    BIGINT          COMMENT '1 where head or page reserve text and data mining (TDM Reservation Protocol), else 0',
  tdm_policy      STRING          COMMENT 'Address of the policy that goes with it',
  content_usage   ARRAY<STRING>   COMMENT 'Preferences of Content-Usage (IETF AIPREF), such as train-ai=n',
  license         STRING          COMMENT 'Licence that the page states: of Creative Commons, such as cc-by-sa-4.0; of a Link header also by SPDX in small letters, such as mit, or other; none where it states none',
  license_url     STRING          COMMENT 'Its address, as the page gives it',
  license_place   STRING          COMMENT 'Where the page states it, the surest place first: rel, meta, jsonld, link, text',
  extract_error   STRING          COMMENT 'Kind of failure and its message: empty, timeout, memory, crash: ...'
)
USING DELTA
COMMENT 'One row per page: its main text, or why there is none'
TBLPROPERTIES (
  'etl.key' = 'doc_id',
  'etl.slice' = 'warc_filename',
  'delta.dataSkippingStatsColumns' = 'doc_id,crawl,url_host_name,fetch_time,warc_filename,text_length',
  'delta.constraints.text_or_why_not' = '(text IS NULL) = (skipped IS NOT NULL OR extract_error IS NOT NULL)'
)
