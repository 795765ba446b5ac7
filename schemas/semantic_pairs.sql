CREATE TABLE IF NOT EXISTS semantic_pairs (
  model      STRING NOT NULL COMMENT 'document_embeddings.model',
  left_id    STRING NOT NULL COMMENT 'documents.doc_id, the smaller of the two',
  right_id   STRING NOT NULL COMMENT 'documents.doc_id',
  cell       INT    NOT NULL COMMENT 'semantic_centroids.cell in which the two were compared',
  similarity DOUBLE NOT NULL COMMENT 'Cosine of the two embeddings, rounded to six decimals; 1 for equal ones'
)
USING DELTA
COMMENT 'Pairs of documents that say the same. Among very many alike documents only as many as connect them at every similarity'
TBLPROPERTIES (
  'etl.key' = 'model, left_id, right_id',
  'etl.slice' = 'model',
  'delta.constraints.ordered' = 'left_id < right_id',
  'delta.constraints.similarity_is_a_cosine' = 'similarity BETWEEN -1 AND 1'
)
