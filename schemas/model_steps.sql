CREATE TABLE IF NOT EXISTS model_steps (
  model         STRING NOT NULL COMMENT 'models.model',
  step          BIGINT NOT NULL COMMENT 'Step of the optimizer, from 0; each once, also where training was resumed before it',
  loss          DOUBLE NOT NULL COMMENT 'Mean over the tokens, or the pairs, of the step, before the weights move',
  learning_rate DOUBLE NOT NULL COMMENT 'Of this step',
  gradient_norm DOUBLE NOT NULL COMMENT 'Norm of the gradient before it is cut to optimizer.clip',
  tokens        BIGINT NOT NULL COMMENT 'Tokens read up to the end of the step, by all processes, padding not counted',
  seconds       DOUBLE NOT NULL COMMENT 'Time of the steps so far, those that were lost to a kill left out',
  is_resumed    BOOLEAN NOT NULL COMMENT 'Whether the training was resumed from a checkpoint at the beginning of this step'
)
USING DELTA
COMMENT 'One row per step of each trained model: the curve of its loss'
TBLPROPERTIES (
  'etl.key' = 'model, step',
  'etl.slice' = 'model',
  'delta.constraints.step_not_negative' = 'step >= 0'
)
