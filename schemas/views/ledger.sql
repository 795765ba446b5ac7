CREATE OR REPLACE VIEW ledger (
  recipe        COMMENT 'dispositions.recipe',
  warc_filename COMMENT 'warc_files.warc_filename',
  records       COMMENT 'Records read from the archive',
  dispositions  COMMENT 'Records of the archive that the recipe accounts for',
  kept          COMMENT 'Those kept',
  dropped       COMMENT 'Those dropped',
  balances      COMMENT 'Whether every record has its disposition'
)
COMMENT 'The books of each archive: records read against dispositions written'
AS
WITH written AS (
  SELECT recipe, warc_filename, count(*) AS dispositions, count_if(decision = 'kept') AS kept
  FROM dispositions
  GROUP BY recipe, warc_filename
),
recipes AS (
  SELECT DISTINCT recipe FROM written
),
read AS (
  SELECT recipes.recipe, warc_files.warc_filename, coalesce(warc_files.records, 0) AS records
  FROM warc_files CROSS JOIN recipes
)
SELECT
  coalesce(read.recipe, written.recipe) AS recipe,
  coalesce(read.warc_filename, written.warc_filename) AS warc_filename,
  coalesce(read.records, 0) AS records,
  coalesce(written.dispositions, 0) AS dispositions,
  coalesce(written.kept, 0) AS kept,
  coalesce(written.dispositions - written.kept, 0) AS dropped,
  coalesce(read.records, 0) = coalesce(written.dispositions, 0) AS balances
FROM read
FULL OUTER JOIN written ON read.recipe = written.recipe AND read.warc_filename = written.warc_filename
ORDER BY recipe, warc_filename
