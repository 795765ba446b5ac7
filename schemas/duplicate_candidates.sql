CREATE TABLE IF NOT EXISTS duplicate_candidates (
  method    STRING NOT NULL COMMENT 'minhash',
  left_id   STRING NOT NULL COMMENT 'documents.doc_id, the smaller of the two; of documents with one set of shingles, the smallest stands for all',
  right_id  STRING NOT NULL COMMENT 'documents.doc_id, the greater of the two',
  left_set  STRING NOT NULL COMMENT 'document_minhash.shingle_set of the left document',
  right_set STRING NOT NULL COMMENT 'document_minhash.shingle_set of the right document',
  sketch    BIGINT NOT NULL COMMENT 'document_minhash.sketch of one of the two: pairs of one family lie together',
  bands     ARRAY<INT> NOT NULL COMMENT 'Bands in which the two met, from 0; empty where their sets of shingles are one'
)
USING DELTA
COMMENT 'One row per pair of documents that share a band and lie side by side in it. A proposal, not yet compared'
TBLPROPERTIES (
  'etl.key' = 'method, left_id, right_id',
  'etl.slice' = 'method',
  'delta.constraints.left_is_smaller' = 'left_id < right_id'
)
