CREATE TABLE IF NOT EXISTS training_pairs (
  training_set STRING NOT NULL COMMENT 'training_sets.training_set',
  position     BIGINT NOT NULL COMMENT 'Place in the order of training, 0 .. rows - 1',
  source       STRING NOT NULL COMMENT 'Source of the mixture that the pair was drawn for',
  example_id   STRING NOT NULL COMMENT 'preferences.example_id',
  prompt       ARRAY<STRUCT<role: STRING, content: STRING>> NOT NULL COMMENT 'preferences.prompt',
  chosen       ARRAY<STRUCT<role: STRING, content: STRING>> NOT NULL COMMENT 'preferences.chosen',
  rejected     ARRAY<STRUCT<role: STRING, content: STRING>> NOT NULL COMMENT 'preferences.rejected',
  tokens       BIGINT NOT NULL COMMENT 'preferences.tokens'
)
USING DELTA
COMMENT 'Preference sets: pairs in a fixed order'
TBLPROPERTIES (
  'etl.key' = 'training_set, position',
  'etl.slice' = 'training_set',
  'delta.constraints.position_not_negative' = 'position >= 0'
)
