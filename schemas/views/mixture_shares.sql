CREATE OR REPLACE VIEW mixture_shares (
  training_set        COMMENT 'training_sets.training_set',
  source              COMMENT 'Source of the mixture',
  asked_share         COMMENT 'Share of the tokens that the mixture asks of the source; null for a held-out part',
  realised_share      COMMENT 'Share of the tokens that it has',
  asked_tokens        COMMENT 'Tokens that the mixture asks of the source',
  tokens              COMMENT 'Tokens that it gave, repetitions among them',
  documents           COMMENT 'Rows that it gave, repetitions among them',
  unique_tokens       COMMENT 'Tokens that it gave, without repetitions',
  unique_documents    COMMENT 'Rows that it gave, without repetitions',
  repetition          COMMENT 'How often a token of it stands in the set on average',
  last_epoch          COMMENT 'How often the row that is repeated most stands in the set',
  epochs              COMMENT 'Passes over the source that the mixture allows',
  available_tokens    COMMENT 'Tokens that it had, each row once',
  available_documents COMMENT 'Rows that it had',
  capacity_tokens     COMMENT 'Tokens that it could give with all repetitions that the mixture allows',
  is_short            COMMENT 'Whether that is less than was asked'
)
COMMENT 'What each training set asked of its sources and what it got'
AS
SELECT
  training_set,
  part.source,
  part.asked_share,
  part.share,
  part.asked_tokens,
  part.tokens,
  part.documents,
  part.unique_tokens,
  part.unique_documents,
  part.tokens / nullif(part.unique_tokens, 0) AS repetition,
  part.last_epoch,
  part.epochs,
  part.available_tokens,
  part.available_documents,
  part.capacity_tokens,
  part.capacity_tokens < part.asked_tokens AS is_short
FROM training_sets
LATERAL VIEW explode(shares) parts AS part
