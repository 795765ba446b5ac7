CREATE TABLE IF NOT EXISTS document_pii (
  doc_id        STRING NOT NULL COMMENT 'documents.doc_id',
  warc_filename STRING NOT NULL COMMENT 'warc_files.warc_filename',
  emails        INT    NOT NULL COMMENT 'E-mail addresses under a known top-level domain',
  ip_addresses  INT    NOT NULL COMMENT 'Public IPv4 and IPv6 addresses; not private or reserved ones',
  phones        INT    NOT NULL COMMENT 'Phone numbers: with a country code, after a word such as phone, or grouped as such numbers are',
  cards         INT    NOT NULL COMMENT 'Numbers of payment cards: issuer, length and check digit are right',
  ibans         INT    NOT NULL COMMENT 'International bank account numbers: country, length and check digits are right',
  spans         ARRAY<STRUCT<kind: STRING, start: INT, end: INT>> NOT NULL COMMENT 'Where in documents.text: email, ip_address, phone, card or iban, from start to before end in code points; in order, none overlapping'
)
USING DELTA
COMMENT 'One row per document with text: personal data in it. A recipe can ask for typed placeholders in the corpus'
TBLPROPERTIES (
  'etl.key' = 'doc_id',
  'etl.slice' = 'warc_filename',
  'delta.constraints.counts_are_of_spans' = 'emails + ip_addresses + phones + cards + ibans = size(spans)'
)
