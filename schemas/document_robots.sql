CREATE TABLE IF NOT EXISTS document_robots (
  doc_id        STRING NOT NULL COMMENT 'captures.doc_id, of a page',
  warc_filename STRING NOT NULL COMMENT 'warc_files.warc_filename',
  robots_known  BIGINT NOT NULL COMMENT '1 where the lake has the robots.txt of the host, or that it has none, else 0; then nothing is refused',
  refused       ARRAY<STRING> NOT NULL COMMENT 'Crawlers in lower case that may not fetch the page, sorted, of those that the file names and those that gather text for models; * where no other may',
  refused_all   BIGINT NOT NULL COMMENT '1 where * is among them, else 0',
  refused_ai    BIGINT NOT NULL COMMENT 'How many of them gather text for models',
  robots_no_ai  BIGINT NOT NULL COMMENT '1 where a Content-Usage or Content-Signal line is against training models, else 0',
  robots_doc_id STRING          COMMENT 'host_robots.doc_id: the newest of the host that says something; null where there is none'
)
USING DELTA
COMMENT 'One row per page: what the robots.txt of its host says of it'
TBLPROPERTIES (
  'etl.key' = 'doc_id',
  'etl.slice' = 'warc_filename',
  'delta.constraints.known_by_a_capture' = '(robots_known = 1) = (robots_doc_id IS NOT NULL)'
)
