CREATE OR REPLACE VIEW duplicate_evidence (
  recipe      COMMENT 'dispositions.recipe',
  method      COMMENT 'minhash, or semantic',
  model       COMMENT 'semantic_pairs.model; null for minhash',
  left_id     COMMENT 'duplicate_pairs.left_id or semantic_pairs.left_id',
  right_id    COMMENT 'The same of the other document',
  left_url    COMMENT 'captures.url of the left document',
  right_url   COMMENT 'captures.url of the right document',
  similarity  COMMENT 'Jaccard similarity of the sets of shingles (minhash), cosine of the embeddings (semantic)',
  containment COMMENT 'duplicate_pairs.containment; null for semantic',
  bands       COMMENT 'duplicate_pairs.bands: those in which the two met; null for semantic',
  cluster_id  COMMENT 'duplicate_clusters.cluster_id, when the two are in one cluster of the method',
  left_fate   COMMENT 'What became of the left document under the recipe: kept, or the rule that dropped it',
  right_fate  COMMENT 'The same of the right document',
  survivor    COMMENT 'left or right, when that one is the document for which the other was dropped'
)
COMMENT 'Every pair of documents that were compared as duplicates, what was measured, and what a recipe made of both'
AS
WITH pairs AS (
  SELECT method, CAST(NULL AS STRING) AS model, left_id, right_id, similarity, containment, bands
  FROM duplicate_pairs
  UNION ALL
  SELECT 'semantic', model, left_id, right_id, similarity, CAST(NULL AS DOUBLE), CAST(NULL AS ARRAY<INT>)
  FROM semantic_pairs
)
-- A document has one disposition under a recipe, and is in one cluster of a method.
SELECT
  l.recipe,
  p.method,
  p.model,
  p.left_id,
  p.right_id,
  l.url AS left_url,
  r.url AS right_url,
  p.similarity,
  p.containment,
  p.bands,
  IF(lc.cluster_id = rc.cluster_id, lc.cluster_id, NULL) AS cluster_id,
  coalesce(l.rule, l.decision) AS left_fate,
  coalesce(r.rule, r.decision) AS right_fate,
  CASE WHEN r.duplicate_of = p.left_id THEN 'left' WHEN l.duplicate_of = p.right_id THEN 'right' END AS survivor
FROM pairs AS p
JOIN dispositions AS l ON p.left_id = l.doc_id
JOIN dispositions AS r ON p.right_id = r.doc_id AND l.recipe = r.recipe
LEFT JOIN duplicate_clusters AS lc ON p.left_id = lc.doc_id AND p.method = lc.method
LEFT JOIN duplicate_clusters AS rc ON p.right_id = rc.doc_id AND p.method = rc.method
ORDER BY recipe, method, similarity DESC, left_id, right_id
