CREATE TABLE IF NOT EXISTS url_signals (
  doc_id          STRING NOT NULL COMMENT 'captures.doc_id',
  warc_filename   STRING NOT NULL COMMENT 'warc_files.warc_filename',
  url_list        STRING NOT NULL COMMENT 'First list of domains or URLs that has the host, a domain above it or a beginning of the URL; none where no list does',
  url_list_entry  STRING          COMMENT 'The entry of that list, such as example.com; null where there is none',
  url_hard_words  BIGINT NOT NULL COMMENT 'Different hard words among the words of the URL; RefinedWeb drops at 1',
  url_soft_words  BIGINT NOT NULL COMMENT 'Different soft words among the words of the URL; RefinedWeb drops at 2',
  url_sub_words   BIGINT NOT NULL COMMENT 'Different sub-words anywhere in the host, dots and hyphens left out; RefinedWeb drops at 1',
  url_words_found STRING          COMMENT 'The hard words, soft words and sub-words that were counted; null where there are none',
  url_host_is_ip  BIGINT NOT NULL COMMENT '1 where the host is an IP address, else 0',
  url_path_kind   STRING NOT NULL COMMENT 'What the shape of the URL says the page is: login, cart, search, feed, edit, share, api, print, or none of them',
  url_length      BIGINT NOT NULL COMMENT 'Characters of the URL'
)
USING DELTA
COMMENT 'One row per page: what its address says, by lists of domains, URLs and words'
TBLPROPERTIES (
  'etl.key' = 'doc_id',
  'etl.slice' = 'warc_filename'
)
