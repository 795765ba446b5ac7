CREATE TABLE IF NOT EXISTS experiments (
  experiment  STRING NOT NULL COMMENT 'Name of the experiment: a file of conf/experiments',
  arm         STRING NOT NULL COMMENT 'What differs: the data that the models of this arm saw',
  benchmark   STRING NOT NULL COMMENT 'evaluations.benchmark',
  metric      STRING NOT NULL COMMENT 'evaluations.metric',
  value       DOUBLE NOT NULL COMMENT 'Mean over the seeds',
  low         DOUBLE NOT NULL COMMENT 'Lower end of the 95 % interval of the mean, over seeds',
  high        DOUBLE NOT NULL COMMENT 'Upper end of the 95 % interval of the mean, over seeds',
  change      DOUBLE NOT NULL COMMENT 'Mean over the seeds of value minus that of the baseline with the same seed; 0 for the baseline',
  change_low  DOUBLE NOT NULL COMMENT 'Lower end of the 95 % interval of change',
  change_high DOUBLE NOT NULL COMMENT 'Upper end of the 95 % interval of change',
  step        DOUBLE NOT NULL COMMENT 'Mean over the seeds of value minus that of the arm before it, or that it names, with the same seed; 0 for the first arm',
  step_low    DOUBLE NOT NULL COMMENT 'Lower end of the 95 % interval of step',
  step_high   DOUBLE NOT NULL COMMENT 'Upper end of the 95 % interval of step',
  seeds       BIGINT NOT NULL COMMENT 'Models of the arm: each seed decides weights to begin with, documents drawn and their order',
  items       BIGINT NOT NULL COMMENT 'Items of the benchmark',
  documents   DOUBLE NOT NULL COMMENT 'Documents of the set of the arm, mean over seeds',
  tokens      DOUBLE NOT NULL COMMENT 'Tokens of the set of the arm by the tokenizer of its models, none twice but what the mixture repeats, mean over seeds',
  seen        DOUBLE NOT NULL COMMENT 'Tokens that a model of the arm was trained on, by the same tokenizer, the same for all arms: seen / tokens are passes over the set',
  baseline    STRING NOT NULL COMMENT 'The arm that the others are compared with',
  config      STRING NOT NULL COMMENT 'JSON of the experiment: arms, recipes, training, seeds'
)
USING DELTA
COMMENT 'One row per experiment, arm and metric: models that differ in their data alone, at equal compute'
TBLPROPERTIES (
  'etl.key' = 'experiment, arm, benchmark, metric',
  'etl.slice' = 'experiment'
)
