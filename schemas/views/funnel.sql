CREATE OR REPLACE VIEW funnel (
  recipe            COMMENT 'dispositions.recipe',
  place             COMMENT 'Order of the rows from 0: what was read, each rule that dropped something, what was kept',
  stage             COMMENT 'dispositions.stage; warc_files for what was read, corpus for what was kept',
  rule              COMMENT 'read, a rule of dispositions, or kept',
  documents_dropped COMMENT 'Records whose first failed rule is this one',
  tokens_dropped    COMMENT 'Tokens of their texts; what was dropped before it had a text has none',
  documents_left    COMMENT 'Records that passed this rule and all before it',
  tokens_left       COMMENT 'Tokens of their texts, before the recipe removes lines',
  share_left        COMMENT 'documents_left / pages, where pages is documents_left after record_type; null for what was read'
)
COMMENT 'What each rule of a recipe drops, in order. Records that hold no page by their type, such as requests, leave first: from there on, documents are pages'
AS
-- One scan: the sums by rule, and the sum of all, which gives the first row and the last.
WITH sums AS (
  SELECT recipe, stage, rule, step, grouping(rule) = 1 AS is_total, count(*) AS documents, coalesce(sum(tokens), 0) AS tokens
  FROM dispositions
  GROUP BY GROUPING SETS ((recipe, stage, rule, step), (recipe))
),
steps AS (
  SELECT
    recipe,
    CASE mark WHEN 'read' THEN 'warc_files' WHEN 'kept' THEN 'corpus' ELSE stage END AS stage,
    mark AS rule,
    CASE mark WHEN 'read' THEN -1 WHEN 'record_type' THEN 0 WHEN 'kept' THEN 2147483647 ELSE step END AS step,
    IF(is_total, 0, documents) AS dropped,
    IF(is_total, 0, tokens) AS tokens_dropped,
    IF(is_total, documents, 0) AS total,
    IF(is_total, tokens, 0) AS tokens_total
  FROM sums
  LATERAL VIEW explode(IF(is_total, array('read', 'kept'), array(rule))) marks AS mark
  WHERE is_total OR rule IS NOT NULL
),
running AS (
  SELECT
    recipe,
    row_number() OVER so_far - 1 AS place,
    stage,
    rule,
    dropped AS documents_dropped,
    tokens_dropped,
    max(total) OVER whole - sum(dropped) OVER so_far AS documents_left,
    max(tokens_total) OVER whole - sum(tokens_dropped) OVER so_far AS tokens_left,
    max(total) OVER whole - sum(IF(rule = 'record_type', dropped, 0)) OVER whole AS pages
  FROM steps
  WINDOW
    whole AS (PARTITION BY recipe),
    so_far AS (PARTITION BY recipe ORDER BY step, rule ROWS BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW)
)
SELECT
  recipe,
  place,
  stage,
  rule,
  documents_dropped,
  tokens_dropped,
  documents_left,
  tokens_left,
  IF(rule = 'read', NULL, documents_left / nullif(pages, 0)) AS share_left
FROM running
ORDER BY recipe, place
