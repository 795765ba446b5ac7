CREATE TABLE IF NOT EXISTS training_examples (
  training_set STRING NOT NULL COMMENT 'training_sets.training_set',
  position     BIGINT NOT NULL COMMENT 'Place in the order of training, 0 .. rows - 1',
  source       STRING NOT NULL COMMENT 'Source of the mixture that the example was drawn for',
  example_id   STRING NOT NULL COMMENT 'instructions.example_id',
  messages     ARRAY<STRUCT<role: STRING, content: STRING>> NOT NULL COMMENT 'instructions.messages',
  tokens       BIGINT NOT NULL COMMENT 'instructions.tokens'
)
USING DELTA
COMMENT 'Instruction sets: conversations in a fixed order'
TBLPROPERTIES (
  'etl.key' = 'training_set, position',
  'etl.slice' = 'training_set',
  'delta.constraints.position_not_negative' = 'position >= 0'
)
