CREATE TABLE IF NOT EXISTS training_sets (
  training_set    STRING NOT NULL COMMENT 'Name of the set; the held-out part of set x is x.held_out',
  kind            STRING NOT NULL COMMENT 'documents, examples or pairs: the table training_<kind> has its rows',
  manifest        STRING NOT NULL COMMENT 'JSON: recipe, mixture, tokenizer, version of every input table, package version',
  manifest_hash   STRING NOT NULL COMMENT 'SHA-256 of manifest, hex',
  content_hash    STRING NOT NULL COMMENT 'SHA-256 over the rows in the order of training, hex',
  recipe_hash     STRING NOT NULL COMMENT 'SHA-256 of the recipe that chose the rows to draw from, hex',
  mixture_hash    STRING NOT NULL COMMENT 'SHA-256 of the mixture, hex',
  tokenizer       STRING NOT NULL COMMENT 'What tokens are counted by',
  documents       BIGINT NOT NULL COMMENT 'Rows of the set',
  tokens          BIGINT NOT NULL COMMENT 'Sum of their tokens',
  shares          ARRAY<STRUCT<source: STRING, asked_share: DOUBLE, share: DOUBLE, asked_tokens: BIGINT, tokens: BIGINT, documents: BIGINT, available_tokens: BIGINT, available_documents: BIGINT, epochs: INT, capacity_tokens: BIGINT, unique_tokens: BIGINT, unique_documents: BIGINT, last_epoch: INT>> NOT NULL COMMENT 'What the mixture asked of each source, what it had, and what it gave: available is all of it once, capacity with all repetitions that are allowed, unique what the set has without repetitions'
)
USING DELTA
COMMENT 'One row per training set: what it was made of, enough to make it again'
TBLPROPERTIES (
  'etl.key' = 'training_set',
  'etl.slice' = 'training_set'
)
