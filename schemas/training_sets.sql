CREATE TABLE IF NOT EXISTS training_sets (
  training_set    STRING NOT NULL COMMENT 'Name of the set',
  manifest        STRING NOT NULL COMMENT 'JSON: recipe, mixture, tokenizer, version and location of every input table, package version',
  manifest_hash   STRING NOT NULL COMMENT 'SHA-256 of manifest, hex',
  content_hash    STRING NOT NULL COMMENT 'SHA-256 over (doc_id, text) in the order of training, hex',
  recipe_hash     STRING NOT NULL COMMENT 'SHA-256 of the recipe that made the corpus, hex',
  mixture_hash    STRING NOT NULL COMMENT 'SHA-256 of the mixture, hex',
  tokenizer       STRING NOT NULL COMMENT 'document_tokens.tokenizer',
  documents       BIGINT NOT NULL COMMENT 'Rows of training_documents',
  tokens          BIGINT NOT NULL COMMENT 'Sum of training_documents.tokens'
)
USING DELTA
COMMENT 'One row per training set: what it was made of, enough to make it again'
TBLPROPERTIES (
  'etl.key' = 'training_set',
  'etl.slice' = 'training_set'
)
