CREATE OR REPLACE VIEW model_pages (
  model        COMMENT 'models.model',
  training_set COMMENT 'Set that the page is in',
  position     COMMENT 'Place of the page in the set',
  doc_id       COMMENT 'documents.doc_id',
  url          COMMENT 'captures.url',
  tokens       COMMENT 'training_documents.tokens',
  is_inherited COMMENT 'Whether a parent of the model saw it, and not the model itself',
  is_as_seen   COMMENT 'Whether the set still has the content that the model saw; if not, read training_documents at models.training_sets.version'
)
COMMENT 'The pages that each model was trained on, by itself or by its parents'
AS
WITH seen AS (
  SELECT model, explode(training_sets) AS seen
  FROM models
)
SELECT
  seen.model,
  seen.seen.training_set,
  documents.position,
  documents.doc_id,
  captures.url,
  documents.tokens,
  seen.seen.is_inherited,
  seen.seen.content_hash = sets.content_hash AS is_as_seen
FROM seen
-- Key: training_sets has one row per set, captures one per doc_id.
JOIN training_sets AS sets ON sets.training_set = seen.seen.training_set AND sets.kind = 'documents'
JOIN training_documents AS documents ON documents.training_set = sets.training_set AND documents.position < seen.seen.rows
JOIN captures ON captures.doc_id = documents.doc_id
