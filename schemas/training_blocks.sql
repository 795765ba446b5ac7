CREATE TABLE IF NOT EXISTS training_blocks (
  training_set STRING NOT NULL COMMENT 'training_sets.training_set',
  packing      STRING NOT NULL COMMENT 'training_packings.packing: how the set was packed',
  shard        BIGINT NOT NULL COMMENT 'Documents are packed in shards of consecutive positions, numbered from 0 in the order of training',
  block        INT    NOT NULL COMMENT 'Place in the shard in the order of training, 0 .. blocks - 1',
  ids          ARRAY<INT> NOT NULL COMMENT 'Tokens, without padding, at most context of them',
  starts       ARRAY<INT> NOT NULL COMMENT 'Where in ids each piece of a document begins; positions and attention may begin anew there',
  documents    ARRAY<BIGINT> NOT NULL COMMENT 'For each piece, training_documents.position',
  begins       ARRAY<INT> NOT NULL COMMENT 'For each piece, the token of its document that it begins with; 0 unless the document was cut',
  separators   INT    NOT NULL COMMENT 'End-of-text tokens in ids that were put after documents',
  padding      INT    NOT NULL COMMENT 'Tokens that ids lacks to the context',
  is_rest      BOOLEAN NOT NULL COMMENT 'Whether the block holds the rest of the stream of its shard, which fills no block; the last of the shard'
)
USING DELTA
COMMENT 'Training sets as blocks of tokens of one length, for trainers that read ids'
TBLPROPERTIES (
  'etl.key' = 'training_set, packing, shard, block',
  'etl.slice' = 'training_set, packing',
  'delta.dataSkippingStatsColumns' = 'training_set,packing,shard,block',
  'delta.constraints.block_not_negative' = 'block >= 0',
  'delta.constraints.padding_not_negative' = 'padding >= 0'
)
