CREATE OR REPLACE VIEW duplicates_kept (
  recipe        COMMENT 'dispositions.recipe',
  method        COMMENT 'duplicate_clusters.method',
  cluster_id    COMMENT 'duplicate_clusters.cluster_id',
  cluster_size  COMMENT 'Documents in the cluster',
  kept          COMMENT 'Those that the recipe keeps: 1, or 0 when all fail another rule, or more when it looks for no duplicates',
  copies        COMMENT 'Those dropped as a copy of the one kept',
  kept_doc_id   COMMENT 'doc_id of the one kept, the smallest of several',
  kept_url      COMMENT 'Its URL',
  tokens_saved  COMMENT 'Tokens of the copies'
)
COMMENT 'What a recipe makes of each cluster of duplicates'
AS
SELECT
  d.recipe,
  c.method,
  c.cluster_id,
  max(c.cluster_size) AS cluster_size,
  count_if(d.decision = 'kept') AS kept,
  count(d.duplicate_of) AS copies,
  min(IF(d.decision = 'kept', d.doc_id, NULL)) AS kept_doc_id,
  min_by(IF(d.decision = 'kept', d.url, NULL), IF(d.decision = 'kept', d.doc_id, NULL)) AS kept_url,
  coalesce(sum(IF(d.duplicate_of IS NOT NULL, d.tokens, 0)), 0) AS tokens_saved
FROM duplicate_clusters AS c
JOIN dispositions AS d ON c.doc_id = d.doc_id
GROUP BY d.recipe, c.method, c.cluster_id
ORDER BY recipe, cluster_size DESC, cluster_id
