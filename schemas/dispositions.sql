CREATE TABLE IF NOT EXISTS dispositions (
  recipe             STRING NOT NULL COMMENT 'Name of the recipe that decided',
  doc_id             STRING NOT NULL COMMENT 'captures.doc_id',
  crawl              STRING NOT NULL COMMENT 'warc_files.crawl',
  url                STRING          COMMENT 'captures.url',
  url_host_name      STRING          COMMENT 'captures.url_host_name',
  warc_filename      STRING NOT NULL COMMENT 'warc_files.warc_filename',
  warc_record_offset BIGINT NOT NULL COMMENT 'captures.warc_record_offset',
  decision           STRING NOT NULL COMMENT 'kept or dropped',
  stage              STRING          COMMENT 'Stage that measured the reason: captures, documents, document_language, ...; null when kept',
  rule               STRING          COMMENT 'First rule that failed, in the order of the recipe; null when kept',
  step               INT             COMMENT 'Place of the rule in the order of checks, from 1: gates, the recipe, duplicates; null when kept',
  signal             STRING          COMMENT 'Column that the rule reads',
  value              DOUBLE          COMMENT 'What was measured, when it is a number',
  threshold          DOUBLE          COMMENT 'The bound it missed, when it is a number',
  detail             STRING          COMMENT 'The reason in words, with value and bound',
  failed_rules       ARRAY<STRING>   COMMENT 'Every rule that failed, in the order of the recipe',
  duplicate_of       STRING          COMMENT 'Of a duplicate, doc_id of the one preferred to it; a later method can drop that one in turn',
  stands_for         BIGINT          COMMENT 'Documents that pass every rule and of which this one is kept, itself among them; null when dropped',
  language           STRING          COMMENT 'document_language.language',
  tokens             BIGINT          COMMENT 'document_tokens.tokens; null where there is no text'
)
USING DELTA
COMMENT 'The ledger: one row per input record and recipe, kept or dropped, and why'
TBLPROPERTIES (
  'etl.key' = 'recipe, warc_filename, warc_record_offset',
  'etl.slice' = 'recipe',
  'delta.constraints.known_decision' = "decision IN ('kept', 'dropped')",
  'delta.constraints.a_drop_has_a_rule' = "(decision = 'kept') = (rule IS NULL)"
)
