CREATE TABLE IF NOT EXISTS evaluation_items (
  model      STRING NOT NULL COMMENT 'evaluations.model',
  benchmark  STRING NOT NULL COMMENT 'evaluations.benchmark',
  metric     STRING NOT NULL COMMENT 'evaluations.metric',
  place      BIGINT NOT NULL COMMENT 'Place of the item in its file or set, from 0',
  item       STRING NOT NULL COMMENT 'SHA-256 of the item, hex; doc_id or example_id for rows of a training set',
  value      DOUBLE NOT NULL COMMENT 'What the item adds to the metric',
  weight     DOUBLE NOT NULL COMMENT 'What it counts: 1, or bytes or tokens where the metric is a ratio of sums',
  prompt     STRING          COMMENT 'What the model was given',
  prediction STRING          COMMENT 'What it said, or the choice it took',
  expected   STRING          COMMENT 'What was right'
)
USING DELTA
COMMENT 'One row per item of an evaluation: value of the metric = sum(value) / sum(weight)'
TBLPROPERTIES (
  'etl.key' = 'model, benchmark, metric, place',
  'etl.slice' = 'model, benchmark'
)
