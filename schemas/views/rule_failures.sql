CREATE OR REPLACE VIEW rule_failures (
  recipe         COMMENT 'dispositions.recipe',
  rule           COMMENT 'A rule that some document failed',
  documents      COMMENT 'Documents that fail it, whichever rule comes first',
  tokens         COMMENT 'Tokens of their texts',
  documents_only COMMENT 'Documents that fail no other rule: what the recipe would keep without this one, but for duplicates',
  tokens_only    COMMENT 'Tokens of their texts'
)
COMMENT 'How many documents each rule fails, and how many it alone fails. The funnel counts each document once, here it counts for every rule it fails'
AS
SELECT
  recipe,
  failed AS rule,
  count(*) AS documents,
  coalesce(sum(tokens), 0) AS tokens,
  count_if(size(failed_rules) = 1) AS documents_only,
  coalesce(sum(IF(size(failed_rules) = 1, tokens, 0)), 0) AS tokens_only
FROM dispositions
LATERAL VIEW explode(failed_rules) failures AS failed
GROUP BY recipe, failed
ORDER BY recipe, documents DESC, rule
