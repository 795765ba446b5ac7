CREATE TABLE IF NOT EXISTS instruction_dispositions (
  recipe       STRING NOT NULL COMMENT 'Name of the recipe that decided, see conf/recipes',
  collection   STRING NOT NULL COMMENT 'instruction_files.collection',
  kind         STRING NOT NULL COMMENT 'examples (of instructions) or pairs (of preferences)',
  source       STRING NOT NULL COMMENT 'instruction_files.source',
  file         STRING NOT NULL COMMENT 'instruction_files.file',
  record       BIGINT NOT NULL COMMENT 'Place of the record in its file',
  part         INT    NOT NULL COMMENT 'Place of the example in its record',
  example_id   STRING          COMMENT 'instructions.example_id or preferences.example_id; null where the record gave none',
  decision     STRING NOT NULL COMMENT 'kept or dropped',
  rule         STRING          COMMENT 'import_error, a rule of the recipe, exact_duplicate or near_duplicate; null when kept',
  signal       STRING          COMMENT 'Column that the rule reads',
  value        DOUBLE          COMMENT 'What was measured, when it is a number',
  threshold    DOUBLE          COMMENT 'The bound it missed, when it is a number',
  detail       STRING          COMMENT 'The reason in words, with value and bound',
  duplicate_of STRING          COMMENT 'Id of the example that it repeats, for a duplicate'
)
USING DELTA
COMMENT 'The ledger of instruction data: one row per row of instructions and of preferences'
TBLPROPERTIES (
  'etl.key' = 'recipe, collection, kind, source, file, record, part',
  'etl.slice' = 'recipe, collection',
  'delta.constraints.known_decision' = "decision IN ('kept', 'dropped')",
  'delta.constraints.a_drop_has_a_rule' = "(decision = 'kept') = (rule IS NULL)"
)
