CREATE OR REPLACE VIEW drops_by_rule_and_host (
  recipe        COMMENT 'dispositions.recipe',
  stage         COMMENT 'dispositions.stage',
  rule          COMMENT 'dispositions.rule',
  url_host_name COMMENT 'dispositions.url_host_name; null where the record names no host',
  documents     COMMENT 'Pages of the host that the rule dropped',
  tokens        COMMENT 'Tokens of their texts',
  host_pages    COMMENT 'Pages of the host, kept or dropped'
)
COMMENT 'What each rule drops of each host. Records that hold no page by their type are left out'
AS
WITH sums AS (
  SELECT recipe, url_host_name, stage, rule, count(*) AS documents, coalesce(sum(tokens), 0) AS tokens
  FROM dispositions
  WHERE coalesce(rule, 'kept') != 'record_type'
  GROUP BY recipe, url_host_name, stage, rule
),
hosts AS (
  SELECT recipe, stage, rule, url_host_name, documents, tokens,
    sum(documents) OVER (PARTITION BY recipe, url_host_name) AS host_pages
  FROM sums
)
SELECT recipe, stage, rule, url_host_name, documents, tokens, host_pages
FROM hosts
WHERE rule IS NOT NULL
ORDER BY recipe, documents DESC, rule, url_host_name
