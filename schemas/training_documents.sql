CREATE TABLE IF NOT EXISTS training_documents (
  training_set STRING NOT NULL COMMENT 'training_sets.training_set',
  position     BIGINT NOT NULL COMMENT 'Place in the order of training, 0 .. documents - 1',
  source       STRING NOT NULL COMMENT 'Source of the mixture that the document was drawn for',
  doc_id       STRING NOT NULL COMMENT 'corpus.doc_id',
  epoch        INT    NOT NULL COMMENT 'Which repetition of the document this is in the set, from 1',
  text         STRING NOT NULL COMMENT 'corpus.text',
  tokens       BIGINT NOT NULL COMMENT 'corpus.tokens'
)
USING DELTA
COMMENT 'Training sets: documents in a fixed order'
TBLPROPERTIES (
  'etl.key' = 'training_set, position',
  'etl.slice' = 'training_set',
  'delta.dataSkippingStatsColumns' = 'training_set,position,source,doc_id,epoch,tokens',
  'delta.constraints.position_not_negative' = 'position >= 0',
  'delta.constraints.epochs_are_counted_from_one' = 'epoch >= 1'
)
