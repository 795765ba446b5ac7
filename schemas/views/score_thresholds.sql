CREATE OR REPLACE VIEW score_thresholds (
  scorer           COMMENT 'document_scores.scorer',
  model            COMMENT 'document_scores.model',
  threshold        COMMENT 'A score that so many documents reach: every twentieth of them, from the lowest score',
  documents        COMMENT 'Documents that the model has scored, as their text is now',
  kept_documents   COMMENT 'Those with at least this score',
  kept_share       COMMENT 'kept_documents over documents',
  kept_tokens      COMMENT 'Their tokens',
  kept_token_share COMMENT 'kept_tokens over the tokens of all of them'
)
COMMENT 'What each threshold on a score would keep: ask here before a recipe is changed'
AS
WITH scored AS (
  SELECT
    document_scores.scorer,
    document_scores.model,
    document_scores.score,
    coalesce(document_tokens.tokens, 0) AS tokens
  FROM document_scores
  JOIN documents
    ON document_scores.doc_id = documents.doc_id AND document_scores.text_hash = documents.text_hash
  LEFT JOIN document_tokens ON document_scores.doc_id = document_tokens.doc_id
  WHERE document_scores.score IS NOT NULL
),
steps AS (
  SELECT
    model,
    explode(array_distinct(percentile(score, array(
      0.0, 0.05, 0.1, 0.15, 0.2, 0.25, 0.3, 0.35, 0.4, 0.45, 0.5, 0.55, 0.6, 0.65, 0.7, 0.75, 0.8, 0.85, 0.9, 0.95, 1.0
    )))) AS threshold
  FROM scored
  GROUP BY model
)
SELECT
  min(scored.scorer) AS scorer,
  scored.model,
  steps.threshold,
  count(*) AS documents,
  count_if(scored.score >= steps.threshold) AS kept_documents,
  count_if(scored.score >= steps.threshold) / count(*) AS kept_share,
  sum(IF(scored.score >= steps.threshold, scored.tokens, 0)) AS kept_tokens,
  sum(IF(scored.score >= steps.threshold, scored.tokens, 0)) / nullif(sum(scored.tokens), 0) AS kept_token_share
FROM scored
JOIN steps ON scored.model = steps.model
GROUP BY scored.model, steps.threshold
ORDER BY scorer, model, threshold
