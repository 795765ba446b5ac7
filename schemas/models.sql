CREATE TABLE IF NOT EXISTS models (
  model            STRING NOT NULL COMMENT 'Name of the model',
  parent           STRING          COMMENT 'The model it began as: a name in this table, or an id or path of a transformers model; null when trained from scratch',
  parent_sha256    STRING          COMMENT 'weights_sha256 of the parent',
  method           STRING NOT NULL COMMENT 'pretrain, sft, dpo, simpo or orpo',
  config           STRING NOT NULL COMMENT 'JSON of all that decides the weights besides data and parent: etl.align.config.Training, world size, threads',
  config_hash      STRING NOT NULL COMMENT 'SHA-256 of config, hex',
  training_sets    ARRAY<STRUCT<training_set: STRING, kind: STRING, manifest_hash: STRING, content_hash: STRING, version: BIGINT, rows: BIGINT, is_inherited: BOOLEAN>> NOT NULL COMMENT 'Every set it saw, those of its parents first: at which version of training_<kind>, and how many of its rows from position 0',
  packing          STRUCT<packing: STRING, version: BIGINT, content_hash: STRING, tokenizer: STRING, end_of_text: INT> COMMENT 'How its own set was packed where it read blocks: which of training_packings, and at which version of training_blocks; of blocks of a shard that was not read to its end, the rows above are those that may be in them',
  weights_sha256   STRING NOT NULL COMMENT 'SHA-256 over names, types, shapes and bytes of all weights, hex',
  tokenizer_sha256 STRING NOT NULL COMMENT 'SHA-256 of tokenizer.json, hex',
  location         STRING NOT NULL COMMENT 'Folder with weights and tokenizer; transformers loads it',
  parameters       BIGINT NOT NULL COMMENT 'Number of weights',
  steps            BIGINT NOT NULL COMMENT 'Steps of the optimizer',
  tokens           BIGINT NOT NULL COMMENT 'Tokens that were read, padding not counted',
  seconds          DOUBLE NOT NULL COMMENT 'Time that training took',
  metrics          MAP<STRING, DOUBLE> NOT NULL COMMENT 'First and last training loss and what else the method measures',
  environment      MAP<STRING, STRING> NOT NULL COMMENT 'Device, processes and the versions of the packages that decide the bits'
)
USING DELTA
COMMENT 'One row per trained model: where it came from, what it saw, and its weights by hash'
TBLPROPERTIES (
  'etl.key' = 'model',
  'etl.slice' = 'model'
)
