CREATE TABLE IF NOT EXISTS document_quality (
  doc_id                       STRING NOT NULL COMMENT 'documents.doc_id',
  warc_filename                STRING NOT NULL COMMENT 'warc_files.warc_filename',
  words                        BIGINT NOT NULL COMMENT 'Words: maximal runs without white space; in scripts without spaces, letters with their marks',
  lines                        BIGINT NOT NULL COMMENT 'Lines that hold a non-space character',
  paragraphs                   BIGINT NOT NULL COMMENT 'Blocks separated by an empty line',
  mean_word_length             DOUBLE NOT NULL COMMENT 'Characters per word (Gopher)',
  symbol_word_ratio            DOUBLE NOT NULL COMMENT 'Hash signs or ellipses per word, the larger of the two, at most 1 (Gopher)',
  bullet_line_ratio            DOUBLE NOT NULL COMMENT 'Share of lines that begin with a bullet (Gopher)',
  ellipsis_line_ratio          DOUBLE NOT NULL COMMENT 'Share of lines that end in an ellipsis (Gopher)',
  alpha_word_ratio             DOUBLE NOT NULL COMMENT 'Share of words with a letter (Gopher)',
  stop_words                   BIGINT NOT NULL COMMENT 'How many different of: the be to of and that have with, in any case (Gopher)',
  duplicate_line_ratio         DOUBLE NOT NULL COMMENT 'Share of lines seen before in the document (Gopher)',
  duplicate_paragraph_ratio    DOUBLE NOT NULL COMMENT 'Share of paragraphs seen before (Gopher)',
  duplicate_line_char_ratio    DOUBLE NOT NULL COMMENT 'Share of characters in lines seen before (Gopher, FineWeb)',
  duplicate_paragraph_char_ratio DOUBLE NOT NULL COMMENT 'Share of characters in paragraphs seen before (Gopher)',
  top_2gram_char_ratio         DOUBLE NOT NULL COMMENT 'Share of word characters in the most frequent 2-gram of words, the longest of several, 0 when it occurs once, at most 1 (Gopher)',
  top_3gram_char_ratio         DOUBLE NOT NULL COMMENT 'The same, 3-gram',
  top_4gram_char_ratio         DOUBLE NOT NULL COMMENT 'The same, 4-gram',
  duplicate_5gram_char_ratio   DOUBLE NOT NULL COMMENT 'Share of word characters in 5-grams of words seen before, each character once (Gopher)',
  duplicate_6gram_char_ratio   DOUBLE NOT NULL COMMENT 'The same, 6-grams',
  duplicate_7gram_char_ratio   DOUBLE NOT NULL COMMENT 'The same, 7-grams',
  duplicate_8gram_char_ratio   DOUBLE NOT NULL COMMENT 'The same, 8-grams',
  duplicate_9gram_char_ratio   DOUBLE NOT NULL COMMENT 'The same, 9-grams',
  duplicate_10gram_char_ratio  DOUBLE NOT NULL COMMENT 'The same, 10-grams',
  punctuated_line_ratio        DOUBLE NOT NULL COMMENT 'Share of lines that end in sentence punctuation of any script or an end quotation mark (FineWeb)',
  short_line_ratio             DOUBLE NOT NULL COMMENT 'Share of lines of at most 30 characters (FineWeb)',
  newline_word_ratio           DOUBLE NOT NULL COMMENT 'Newlines per word, at most 1 (FineWeb)',
  longest_word                 BIGINT NOT NULL COMMENT 'Characters of the longest word (C4)',
  lorem_ipsum                  BIGINT NOT NULL COMMENT 'Occurrences of "lorem ipsum" in any case (C4)',
  curly_brackets               BIGINT NOT NULL COMMENT 'Opening curly brackets (C4)',
  c4_sentences                 BIGINT NOT NULL COMMENT 'Sentences in the lines that C4 keeps',
  c4_kept_line_ratio           DOUBLE NOT NULL COMMENT 'Share of lines that C4 keeps, terminal punctuation required',
  c4_policy_lines              BIGINT NOT NULL COMMENT 'Lines with a javascript or policy phrase, which C4 drops',
  fineweb_sentences            BIGINT NOT NULL COMMENT 'Sentences in the lines that FineWeb keeps: those of C4, but lines need no terminal punctuation',
  refinedweb_removed_word_ratio DOUBLE NOT NULL COMMENT 'Share of words in what RefinedWeb and DCLM remove line by line'
)
USING DELTA
COMMENT 'One row per document with text: the signals of published heuristic filters. No row is ever dropped here'
TBLPROPERTIES (
  'etl.key' = 'doc_id',
  'etl.slice' = 'warc_filename'
)
