CREATE TABLE IF NOT EXISTS training_packings (
  training_set    STRING NOT NULL COMMENT 'training_sets.training_set',
  packing         STRING NOT NULL COMMENT 'Name of the way to pack, such as concat-2048-gpt2',
  mode            STRING NOT NULL COMMENT 'concat (one stream, cut every context tokens) or best_fit (only documents longer than the context are cut)',
  context         INT    NOT NULL COMMENT 'Tokens of a block, padding included',
  tokenizer       STRING NOT NULL COMMENT 'What made the ids',
  end_of_text     INT    NOT NULL COMMENT 'Id of the token after each document',
  shard_documents INT    NOT NULL COMMENT 'Documents of a shard; the last has what is left',
  seed            BIGINT NOT NULL COMMENT 'Decides the order of the blocks of a shard',
  documents       BIGINT NOT NULL COMMENT 'Documents that the blocks hold',
  tokens          BIGINT NOT NULL COMMENT 'Tokens of documents in the blocks, each once',
  separators      BIGINT NOT NULL COMMENT 'End-of-text tokens in the blocks',
  padding         BIGINT NOT NULL COMMENT 'Tokens that blocks lack to the context: tokens + separators + padding = blocks x context',
  blocks          BIGINT NOT NULL COMMENT 'Rows of training_blocks',
  shards          BIGINT NOT NULL COMMENT 'Shards that they are in',
  rests           BIGINT NOT NULL COMMENT 'Blocks that hold the rest of a shard',
  rest_tokens     BIGINT NOT NULL COMMENT 'Tokens of documents and end-of-texts in these: what a reader leaves out that takes whole blocks only',
  set_documents   BIGINT NOT NULL COMMENT 'Rows of training_documents; best_fit has nothing to write of one without a token',
  set_tokens      BIGINT NOT NULL COMMENT 'Sum of training_documents.tokens: equals tokens where the set was counted by the same tokenizer',
  content_hash    STRING NOT NULL COMMENT 'SHA-256 over the blocks in the order of training, hex'
)
USING DELTA
COMMENT 'One row per packing of a training set: where every token went'
TBLPROPERTIES (
  'etl.key' = 'training_set, packing',
  'etl.slice' = 'training_set, packing',
  'delta.constraints.every_token_has_a_place' = 'tokens + separators + padding = blocks * context'
)
