CREATE TABLE IF NOT EXISTS corpus (
  recipe         STRING NOT NULL COMMENT 'Name of the recipe that kept the document',
  doc_id         STRING NOT NULL COMMENT 'captures.doc_id',
  crawl          STRING NOT NULL COMMENT 'warc_files.crawl',
  url            STRING          COMMENT 'captures.url',
  url_host_name  STRING          COMMENT 'captures.url_host_name',
  fetch_time     TIMESTAMP       COMMENT 'captures.fetch_time',
  title          STRING          COMMENT 'documents.title',
  text           STRING NOT NULL COMMENT 'documents.text, without the lines that the recipe removes',
  language       STRING          COMMENT 'document_language.language',
  language_score DOUBLE          COMMENT 'document_language.language_score',
  tokens         BIGINT NOT NULL COMMENT 'Tokens of text by the tokenizer of document_tokens',
  stands_for     BIGINT NOT NULL COMMENT 'dispositions.stands_for: 1, and 1 more for each duplicate that was dropped for it',
  scores         MAP<STRING, DOUBLE> COMMENT 'document_scores.score by scorer, of the models of the run, such as scores.quality; empty where none has scored the document'
)
USING DELTA
COMMENT 'One row per kept document and recipe'
TBLPROPERTIES (
  'etl.key' = 'recipe, doc_id',
  'etl.slice' = 'recipe',
  'delta.dataSkippingStatsColumns' = 'recipe,doc_id,crawl,url_host_name,fetch_time,language,tokens'
)
