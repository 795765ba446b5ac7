CREATE TABLE IF NOT EXISTS duplicate_clusters (
  method       STRING NOT NULL COMMENT 'payload: the same content_digest; exact: the same text_hash; normal: the same normal_hash; minhash: verified Jaccard similarity; semantic: cosine of embeddings',
  doc_id       STRING NOT NULL COMMENT 'documents.doc_id',
  cluster_id   STRING NOT NULL COMMENT 'The smallest doc_id of the cluster',
  cluster_size BIGINT NOT NULL COMMENT 'Documents in the cluster, at least 2',
  evidence     STRING          COMMENT 'Hash of all that took its component of near duplicates apart: their sets of shingles, their order, the linkage; null where no text was read for it'
)
USING DELTA
COMMENT 'One row per document that has a duplicate. Which one is kept is decided by a recipe'
TBLPROPERTIES (
  'etl.key' = 'method, doc_id',
  'etl.slice' = 'method',
  'delta.constraints.a_cluster_has_two' = 'cluster_size >= 2'
)
