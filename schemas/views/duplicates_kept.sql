CREATE OR REPLACE VIEW duplicates_kept (
  recipe        COMMENT 'dispositions.recipe',
  method        COMMENT 'duplicate_clusters.method',
  cluster_id    COMMENT 'duplicate_clusters.cluster_id',
  cluster_size  COMMENT 'Documents in the cluster',
  kept          COMMENT 'Those that the recipe keeps: 1, or 0 when all fail a rule or give way to documents outside of the cluster, or more when it does not look for duplicates by this method',
  copies        COMMENT 'Those dropped as duplicates by this method, and not by a rule or a method before it',
  failed        COMMENT 'Those that fail a rule of the recipe',
  kept_doc_id   COMMENT 'doc_id of the one kept, the smallest of several',
  kept_url      COMMENT 'Its URL',
  tokens_saved  COMMENT 'Tokens of the copies'
)
COMMENT 'What a recipe makes of each cluster of duplicates'
AS
WITH members AS (
  SELECT
    d.recipe,
    c.method,
    c.cluster_id,
    c.cluster_size,
    d.doc_id,
    d.url,
    d.tokens,
    d.decision = 'kept' AS is_kept,
    coalesce(d.stage = 'duplicate_clusters', false) AS is_duplicate,
    -- A document is dropped once, by the first method that finds it.
    coalesce(
      d.rule = CASE c.method
        WHEN 'payload' THEN 'payload_duplicate'
        WHEN 'exact' THEN 'exact_duplicate'
        WHEN 'normal' THEN 'normal_duplicate'
        WHEN 'minhash' THEN 'near_duplicate'
        WHEN 'semantic' THEN 'semantic_duplicate'
      END,
      false
    ) AS is_copy
  FROM duplicate_clusters AS c
  JOIN dispositions AS d ON c.doc_id = d.doc_id
)
SELECT
  recipe,
  method,
  cluster_id,
  max(cluster_size) AS cluster_size,
  count_if(is_kept) AS kept,
  count_if(is_copy) AS copies,
  count_if(NOT is_kept AND NOT is_duplicate) AS failed,
  min(IF(is_kept, doc_id, NULL)) AS kept_doc_id,
  min_by(IF(is_kept, url, NULL), IF(is_kept, doc_id, NULL)) AS kept_url,
  coalesce(sum(IF(is_copy, tokens, 0)), 0) AS tokens_saved
FROM members
GROUP BY recipe, method, cluster_id
ORDER BY recipe, cluster_size DESC, method, cluster_id
