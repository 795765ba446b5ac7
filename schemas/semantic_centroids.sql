CREATE TABLE IF NOT EXISTS semantic_centroids (
  model     STRING       NOT NULL COMMENT 'document_embeddings.model',
  cell      INT          NOT NULL COMMENT 'Number of the cell, 0 .. cells - 1',
  centroid  ARRAY<FLOAT> NOT NULL COMMENT 'Vector of unit length; a document is in the cell of the nearest',
  training  STRING       NOT NULL COMMENT 'Hash of the params of training: the same ones keep these centroids',
  documents BIGINT       NOT NULL COMMENT 'Documents of this model when the centroids were trained'
)
USING DELTA
COMMENT 'Where cells of alike documents have their middle. Trained once, and kept as documents are added'
TBLPROPERTIES (
  'etl.key' = 'model, cell',
  'etl.slice' = 'model',
  'delta.constraints.cell_not_negative' = 'cell >= 0'
)
