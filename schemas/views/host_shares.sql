CREATE OR REPLACE VIEW host_shares (
  recipe         COMMENT 'dispositions.recipe',
  url_host_name  COMMENT 'dispositions.url_host_name; null where the record names no host',
  pages          COMMENT 'Pages of the host; records that hold no page by their type are left out',
  tokens         COMMENT 'Tokens of those that have a text',
  kept_documents COMMENT 'Documents of the host that the recipe keeps',
  kept_tokens    COMMENT 'Tokens of their texts, before the recipe removes lines',
  kept_share     COMMENT 'kept_tokens over the tokens kept of all hosts'
)
COMMENT 'What each host gives to the crawl and to the corpus'
AS
WITH hosts AS (
  SELECT
    recipe,
    url_host_name,
    count(*) AS pages,
    coalesce(sum(tokens), 0) AS tokens,
    count_if(decision = 'kept') AS kept_documents,
    coalesce(sum(IF(decision = 'kept', tokens, 0)), 0) AS kept_tokens
  FROM dispositions
  WHERE coalesce(rule, 'kept') != 'record_type'
  GROUP BY recipe, url_host_name
)
SELECT
  recipe,
  url_host_name,
  pages,
  tokens,
  kept_documents,
  kept_tokens,
  kept_tokens / nullif(sum(kept_tokens) OVER (PARTITION BY recipe), 0) AS kept_share
FROM hosts
ORDER BY recipe, pages DESC, url_host_name
