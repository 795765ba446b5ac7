CREATE OR REPLACE VIEW language_shares (
  recipe         COMMENT 'dispositions.recipe',
  language       COMMENT 'document_language.language; null for texts without letters',
  documents      COMMENT 'Documents with text in this language',
  tokens         COMMENT 'Their tokens',
  kept_documents COMMENT 'Those that the recipe keeps',
  kept_tokens    COMMENT 'Their tokens, before the recipe removes lines',
  token_share    COMMENT 'tokens over the tokens of all languages',
  kept_share     COMMENT 'kept_tokens over the tokens kept of all languages'
)
COMMENT 'Which languages came in, and which are kept'
AS
WITH languages AS (
  SELECT
    recipe,
    language,
    count(*) AS documents,
    sum(tokens) AS tokens,
    count_if(decision = 'kept') AS kept_documents,
    sum(IF(decision = 'kept', tokens, 0)) AS kept_tokens
  FROM dispositions
  WHERE tokens IS NOT NULL
  GROUP BY recipe, language
)
SELECT
  recipe,
  language,
  documents,
  tokens,
  kept_documents,
  kept_tokens,
  tokens / nullif(sum(tokens) OVER (PARTITION BY recipe), 0) AS token_share,
  kept_tokens / nullif(sum(kept_tokens) OVER (PARTITION BY recipe), 0) AS kept_share
FROM languages
ORDER BY recipe, tokens DESC, language
