CREATE OR REPLACE VIEW mixture_origins (
  training_set COMMENT 'training_sets.training_set',
  source       COMMENT 'Source of the mixture',
  crawl        COMMENT 'documents.crawl',
  license      COMMENT 'documents.license; none where none is stated',
  rows         COMMENT 'Rows of the set, repetitions among them',
  tokens       COMMENT 'Tokens of these rows',
  share        COMMENT 'Share of the tokens of the set'
)
COMMENT 'Where the rows of each training set of documents come from, and under which licence'
AS
SELECT
  training_set,
  source,
  crawl,
  coalesce(license, 'none') AS license,
  count(*) AS rows,
  sum(drawn.tokens) AS tokens,
  sum(drawn.tokens) / sum(sum(drawn.tokens)) OVER (PARTITION BY training_set) AS share
FROM training_documents AS drawn
-- Key: documents has one row per doc_id.
JOIN documents ON documents.doc_id = drawn.doc_id
GROUP BY training_set, source, crawl, coalesce(license, 'none')
