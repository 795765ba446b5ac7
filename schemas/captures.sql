CREATE TABLE IF NOT EXISTS captures (
  doc_id                     STRING    NOT NULL COMMENT 'Hash of archive name, offset and content digest, 32 hex digits; names the record in every table',
  crawl                      STRING    NOT NULL COMMENT 'warc_files.crawl',
  url                        STRING             COMMENT 'WARC-Target-URI; null for warcinfo, and where the header could not be read',
  url_host_name              STRING             COMMENT 'Host in lower case',
  url_host_registered_domain STRING             COMMENT 'Registered domain by the Public Suffix List',
  fetch_time                 TIMESTAMP          COMMENT 'WARC-Date, UTC',
  fetch_status               INT                COMMENT 'HTTP status; null where there was no HTTP response',
  fetch_redirect             STRING             COMMENT 'HTTP Location, as sent',
  http_rights                STRING             COMMENT 'Header lines that state rights, as sent, names in lower case, one a line: X-Robots-Tag, TDM-Reservation, TDM-Policy, Content-Usage, Link with a license; those of the record where there was no HTTP response; null where there are none',
  content_digest             STRING             COMMENT 'SHA-1 of the payload as archived, base 32, as in the header or else computed',
  content_mime_type          STRING             COMMENT 'MIME type the server sent, without parameters, lower case',
  content_mime_detected      STRING             COMMENT 'MIME type by the first bytes of the payload, else the one sent',
  content_charset_declared   STRING             COMMENT 'charset parameter of the HTTP Content-Type',
  content_truncated          STRING             COMMENT 'WARC-Truncated: length, time, disconnect, unspecified',
  warc_filename              STRING    NOT NULL COMMENT 'warc_files.warc_filename',
  warc_record_offset         BIGINT    NOT NULL COMMENT 'Byte offset of the record in the archive as stored',
  warc_record_length         BIGINT             COMMENT 'Bytes of the record in the archive as stored; null where unknown',
  warc_record_type           STRING    NOT NULL COMMENT 'response, resource, revisit, conversion, request, metadata, warcinfo, ..., or unreadable',
  warc_refers_to             STRING             COMMENT 'For a revisit: URI of the capture that holds the same payload',
  payload                    BINARY             COMMENT 'Body with transfer and content encodings undone, as one Zstandard frame; null when not kept',
  payload_length             BIGINT             COMMENT 'Bytes of the body before compression; null where there is none',
  ingest_error               STRING             COMMENT 'Why the record could not be read or decoded; null when it could'
)
USING DELTA
COMMENT 'One row per archive record: what the crawler saw. Column names are those of the Common Crawl index where it has one'
TBLPROPERTIES (
  'etl.key' = 'warc_filename, warc_record_offset',
  'etl.slice' = 'warc_filename',
  'delta.dataSkippingStatsColumns' = 'doc_id,crawl,url_host_name,fetch_time,fetch_status,warc_filename,warc_record_offset,warc_record_type'
)
