CREATE TABLE IF NOT EXISTS evaluations (
  model          STRING NOT NULL COMMENT 'models.model, or an id or path of a transformers model',
  benchmark      STRING NOT NULL COMMENT 'Name of the benchmark, such as gsm8k or held_out',
  metric         STRING NOT NULL COMMENT 'bits_per_byte, accuracy, accuracy_per_character, exact_match, answer_loss, margin or preference_accuracy',
  value          DOUBLE NOT NULL COMMENT 'What was measured',
  low            DOUBLE NOT NULL COMMENT 'Lower end of the 95 % interval',
  high           DOUBLE NOT NULL COMMENT 'Upper end of the 95 % interval',
  n              BIGINT NOT NULL COMMENT 'Items measured: rows of evaluation_items',
  weights_sha256 STRING NOT NULL COMMENT 'Weights that were measured',
  data           STRING NOT NULL COMMENT 'File name or training set that the items came from',
  data_sha256    STRING NOT NULL COMMENT 'SHA-256 of the file, or content_hash of the set',
  settings       STRING NOT NULL COMMENT 'JSON of etl.evaluate settings: examples in the prompt, context, limit',
  package        STRING NOT NULL COMMENT 'Version of goldenlake'
)
USING DELTA
COMMENT 'One row per model, benchmark and metric, with a 95 % interval'
TBLPROPERTIES (
  'etl.key' = 'model, benchmark, metric',
  'etl.slice' = 'model, benchmark',
  'delta.constraints.an_interval_holds_its_value' = 'low <= value AND value <= high'
)
