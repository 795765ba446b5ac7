CREATE OR REPLACE VIEW archive_health (
  crawl       COMMENT 'warc_files.crawl',
  status      COMMENT 'warc_files.status',
  archives    COMMENT 'Archives of this crawl with this status',
  bytes       COMMENT 'Their size as stored; null where no size is known',
  records     COMMENT 'Records read from them',
  captures    COMMENT 'Records that hold a payload',
  with_errors COMMENT 'Archives in which some record could not be read',
  example     COMMENT 'Name of one of those, and its first failure'
)
COMMENT 'How well the archives of each crawl could be read'
AS
SELECT
  crawl,
  status,
  count(*) AS archives,
  sum(bytes) AS bytes,
  coalesce(sum(records), 0) AS records,
  coalesce(sum(captures), 0) AS captures,
  count(error) AS with_errors,
  min(concat(warc_filename, ': ', error)) AS example
FROM warc_files
GROUP BY crawl, status
ORDER BY crawl, status
