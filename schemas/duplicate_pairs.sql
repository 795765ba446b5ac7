CREATE TABLE IF NOT EXISTS duplicate_pairs (
  method      STRING NOT NULL COMMENT 'minhash',
  left_id     STRING NOT NULL COMMENT 'duplicate_candidates.left_id',
  right_id    STRING NOT NULL COMMENT 'duplicate_candidates.right_id',
  left_set    STRING NOT NULL COMMENT 'duplicate_candidates.left_set',
  right_set   STRING NOT NULL COMMENT 'duplicate_candidates.right_set',
  bands       ARRAY<INT> NOT NULL COMMENT 'duplicate_candidates.bands',
  similarity  DOUBLE NOT NULL COMMENT 'Jaccard similarity of the two sets of shingles, 0 to 1',
  containment DOUBLE NOT NULL COMMENT 'Shingles that both have by those of the smaller set, 0 to 1'
)
USING DELTA
COMMENT 'One row per pair of documents that were compared, shingle by shingle: the evidence for near duplicates, also where it says no'
TBLPROPERTIES (
  'etl.key' = 'method, left_id, right_id',
  'etl.slice' = 'method',
  'delta.constraints.left_is_smaller' = 'left_id < right_id',
  'delta.constraints.containment_is_no_less' = 'similarity BETWEEN 0 AND containment AND containment <= 1'
)
