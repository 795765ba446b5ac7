CREATE TABLE IF NOT EXISTS document_repeats (
  recipe              STRING NOT NULL COMMENT 'Name of the recipe among whose kept documents repetition is counted',
  doc_id              STRING NOT NULL COMMENT 'documents.doc_id',
  lines               INT    NOT NULL COMMENT 'Lines that many documents of one host, or very many of any, have',
  paragraphs          INT    NOT NULL COMMENT 'Paragraphs, text between blank lines, that an earlier document has',
  substrings          INT    NOT NULL COMMENT 'Longest runs of words of which an earlier document has every part of the shortest length that counts',
  repeated_characters BIGINT NOT NULL COMMENT 'Characters (Unicode code points) of documents.text in any of the spans',
  spans               ARRAY<STRUCT<kind: STRING, start: INT, end: INT, documents: BIGINT>> NOT NULL COMMENT 'Where in documents.text: line, paragraph or substring, from start to before end in code points; documents that have it, of a substring the most that have a part of it. In order; those of one kind do not overlap'
)
USING DELTA
COMMENT 'One row per kept document in which something is repeated. Which kinds are cut out of its text, a recipe decides'
TBLPROPERTIES (
  'etl.key' = 'recipe, doc_id',
  'etl.slice' = 'recipe',
  'delta.constraints.counts_are_of_spans' = 'lines + paragraphs + substrings = size(spans)'
)
