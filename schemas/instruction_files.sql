CREATE TABLE IF NOT EXISTS instruction_files (
  collection     STRING NOT NULL COMMENT 'Name of the collection that the file belongs to, see conf/collections',
  source         STRING NOT NULL COMMENT 'Name of the data set, such as oasst',
  file           STRING NOT NULL COMMENT 'Name of the file, without its folder',
  location       STRING NOT NULL COMMENT 'Where its bytes are',
  format         STRING NOT NULL COMMENT 'alpaca, sharegpt, messages, oasst or preference',
  bytes          BIGINT NOT NULL COMMENT 'Size of the file',
  content_digest STRING NOT NULL COMMENT 'SHA-256 of the bytes of the file, hex',
  license        STRING NOT NULL COMMENT 'Licence of the data, SPDX where there is one',
  generator      STRING NOT NULL COMMENT 'Who wrote the answers: people, rules, or the name of a model',
  category       STRING NOT NULL COMMENT 'What the examples teach: general, flan, code, math, safety, ...'
)
USING DELTA
COMMENT 'One row per file of instruction or preference data'
TBLPROPERTIES (
  'etl.key' = 'collection, source, file',
  'etl.slice' = 'collection'
)
