CREATE OR REPLACE VIEW mixture_shares (
  training_set        COMMENT 'training_sets.training_set',
  source              COMMENT 'Source of the mixture',
  asked_share         COMMENT 'Share of the tokens that the mixture asks of the source',
  share               COMMENT 'Share of the tokens that it has',
  asked_tokens        COMMENT 'Tokens that the mixture asks of the source',
  tokens              COMMENT 'Tokens that it gave',
  documents           COMMENT 'Rows that it gave',
  available_tokens    COMMENT 'Tokens that it had',
  available_documents COMMENT 'Rows that it had',
  is_short            COMMENT 'Whether the source had less than was asked'
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
  part.available_tokens,
  part.available_documents,
  part.available_tokens < part.asked_tokens AS is_short
FROM training_sets
LATERAL VIEW explode(shares) parts AS part
