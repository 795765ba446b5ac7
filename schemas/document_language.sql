CREATE TABLE IF NOT EXISTS document_language (
  doc_id                STRING NOT NULL COMMENT 'documents.doc_id',
  warc_filename         STRING NOT NULL COMMENT 'warc_files.warc_filename',
  language              STRING          COMMENT 'Most probable language, ISO 639 code as the model names it; null for text without letters',
  language_score        DOUBLE          COMMENT 'Probability of that language, 0 to 1',
  second_language       STRING          COMMENT 'Next language by probability; null for text without letters',
  second_language_score DOUBLE          COMMENT 'Probability of that language, 0 to 1',
  other_line_ratio      DOUBLE          COMMENT 'Share of the characters that are in long lines (40 characters or 8 words) of another language at 0.8 or more; null where lines were not asked for',
  other_line_language   STRING          COMMENT 'Language of most of those characters; none where there are none, null where lines were not asked for',
  language_stop_words   BIGINT          COMMENT 'How many different words of the list that FineWeb-2 has for that language, as they are written there; null where there is none (cs, de, es, fr, it, nl, pl, pt and ru have one)',
  model                 STRING NOT NULL COMMENT 'Model that answered, such as lid.176.ftz'
)
USING DELTA
COMMENT 'One row per document with text: the language it is written in'
TBLPROPERTIES (
  'etl.key' = 'doc_id',
  'etl.slice' = 'warc_filename',
  'delta.constraints.score_is_a_probability' = 'language_score BETWEEN 0 AND 1'
)
