"""What curation made of a corpus: measures of all documents with text, of what the recipe keeps, and their ratio."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import reduce

from pyspark.sql import Column, DataFrame, Row, Window
from pyspark.sql import functions as F

from etl import tables
from etl.kernels import minhash
from etl.kernels.quality_score import Estimate, Gain, gain
from etl.lake import Lake
from etl.report import estimates
from etl.report.estimates import Grams, Moments, wilson
from etl.report.scoring import Scores
from etl.stages.curate import Recipe
from etl.stages.dedup import EXACT, MINHASH, SEMANTIC

SAMPLE_TEXTS = 1000  # of each side, to count different n-grams in
FIRST_WORDS = 50  # of each text: the shortest that Gopher's rules keep, so that long texts do not count for more
# By what copies are found here, each method in what those before it have left.
LEVELS = (EXACT, MINHASH, SEMANTIC)


@dataclass(frozen=True)
class Copies:
    """Copies by one method and those before it in `LEVELS`: the share of documents that are none, before and after;
    tokens, of all and of one document of each cluster."""

    documents: Gain | None = None
    tokens: Gain | None = None


def copies(lake: Lake, recipe: str) -> dict[str, Copies]:
    """Copies among all documents with text and in the corpus, by method; a method that was not used has no values.

    Items are clusters: documents that stand for each other. Of a cluster one document is taken for the first, which is
    looked up by the next method. Key: a document is in one cluster of a method.
    """
    clusters = lake.read(tables.DUPLICATE_CLUSTERS)
    found = {row["method"] for row in clusters.select("method").distinct().collect()}
    used = [method for method in LEVELS if method in found or method == EXACT or is_used(lake, method)]
    documents = lake.read(tables.DOCUMENT_TOKENS).select("doc_id", "tokens", F.col("doc_id").alias("cluster"))
    kept = lake.read(tables.CORPUS).where(F.col("recipe") == recipe)
    # Lines may have been removed from what is kept, so copies by letters are counted anew.
    first_copy = F.min("doc_id").over(Window.partitionBy(F.md5(F.col("text").cast("binary"))))
    kept = kept.select("doc_id", "tokens", first_copy.alias("cluster"))
    items = []
    for method in used:
        documents = _joined(documents, clusters, method)
        kept = kept if method == EXACT else _joined(kept, clusters, method)
        items += [_items(documents, method, "before"), _items(kept, method, "after")]
    sums = {(row["method"], row["side"]): row.asDict() for row in _sums(reduce(DataFrame.unionByName, items)).collect()}
    return {method: _copies(sums.get((method, "before")), sums.get((method, "after"))) for method in LEVELS}


def is_used(lake: Lake, method: str) -> bool:
    """Whether clusters were looked for by a method, though none may have been found."""
    return lake.last_metadata(tables.DUPLICATE_CLUSTERS, {"method": [method]}) is not None


def _joined(rows: DataFrame, clusters: DataFrame, method: str) -> DataFrame:
    """`rows` (doc_id, tokens, cluster), where `cluster` names what the method makes of the document that it named."""
    of_method = clusters.where(F.col("method") == method)
    of_method = of_method.select(F.col("doc_id").alias("cluster"), F.col("cluster_id").alias("joined"))
    rows = rows.join(of_method, "cluster", how="left")
    return rows.select("doc_id", "tokens", F.coalesce("joined", "cluster").alias("cluster"))


def _items(rows: DataFrame, method: str, side: str) -> DataFrame:
    """One row per cluster: its documents, the tokens of its first one, and of all."""
    return rows.groupBy("cluster").agg(
        F.lit(method).alias("method"),
        F.lit(side).alias("side"),
        F.count(F.lit(1)).cast("double").alias("size"),
        F.min_by("tokens", "doc_id").cast("double").alias("once"),
        F.sum("tokens").cast("double").alias("all"),
    )


def _copies(before: Mapping[str, float] | None, after: Mapping[str, float] | None) -> Copies:
    shares = [None if sums is None else _unique_documents(sums) for sums in (before, after)]
    return Copies(documents=gain(*shares), tokens=None if before is None else _unique_tokens(before))


def _sums(items: DataFrame) -> DataFrame:
    """One row per method and side that has items."""
    size, once, everything = F.col("size"), F.col("once"), F.col("all")
    sums = {
        "texts": F.count(F.lit(1)),
        "documents": F.sum(size),
        "size_size": F.sum(size * size),
        "once": F.sum(once),
        "all": F.sum(everything),
        "once_once": F.sum(once * once),
        "once_all": F.sum(once * everything),
        "all_all": F.sum(everything * everything),
    }
    named = [F.coalesce(value, F.lit(0.0)).alias(name) for name, value in sums.items()]
    return items.groupBy("method", "side").agg(*named)


def _unique_documents(sums: Mapping[str, float]) -> Estimate | None:
    n, documents = int(sums["texts"]), sums["documents"]
    share = estimates.ratio(Moments(n, n, documents, n, documents, sums["size_size"]))
    return None if share is None else Estimate(share.value, share.low, min(1.0, share.high), int(documents))


def _unique_tokens(sums: Mapping[str, float]) -> Gain | None:
    n, once, everything = int(sums["texts"]), sums["once"], sums["all"]
    share = estimates.ratio(Moments(n, once, everything, sums["once_once"], sums["once_all"], sums["all_all"]))
    if share is None:
        return None
    documents = int(sums["documents"])
    left = Estimate(share.value, share.low, min(1.0, share.high), documents)
    # Both totals were counted; what other pages would give is said of their ratio.
    return Gain(Estimate(everything, everything, everything, documents), Estimate(once, once, once, n), left)


def recipe_languages(recipe: Recipe | None) -> frozenset[str] | None:
    """The languages that a recipe asks for; None where it has no such rule, or is not known."""
    rules = recipe.rules if recipe is not None else ()
    asked = [frozenset(rule.one_of) for rule in rules if rule.signal == "language" and rule.one_of is not None]
    return frozenset.intersection(*asked) if asked else None


def true_purity(scores: Scores | None, wanted: frozenset[str] | None) -> Gain | None:
    """Share of documents that truly are in the languages of the recipe, with text and kept."""
    if scores is None or wanted is None:
        return None
    counts = [(each.language in wanted, each.documents, each.kept) for each in scores.true_languages]
    return _purity(counts)


def detected_purity(shares: DataFrame, wanted: frozenset[str] | None) -> Gain | None:
    """The same by the detector that the rule itself reads, from rows of the view language_shares."""
    if wanted is None:
        return None
    is_wanted = F.coalesce(F.col("language").isin(*sorted(wanted)), F.lit(False)).alias("is_wanted")
    rows = shares.groupBy(is_wanted).agg(F.sum("documents").alias("documents"), F.sum("kept_documents").alias("kept"))
    return _purity([(row["is_wanted"], row["documents"], row["kept"]) for row in rows.collect()])


def _purity(counts: Sequence[tuple[bool, int, int]]) -> Gain | None:
    def share(place: int) -> Estimate | None:
        return wilson(sum(row[place] for row in counts if row[0]), sum(row[place] for row in counts))

    return gain(share(1), share(2))


def diversity(lake: Lake, recipe: str, size: int = 5) -> Gain | None:
    """Share of different n-grams of words among as many of them, of documents with text and of the corpus.

    Of each text one copy is taken, since the share of copies is a measure of its own, and of each its first words.
    Texts are chosen by a hash of their id.
    """
    clusters = lake.read(tables.DUPLICATE_CLUSTERS).where(F.col("method") == EXACT)
    copy_ids = clusters.where(F.col("cluster_id") != F.col("doc_id")).select("doc_id")
    documents = lake.read(tables.DOCUMENT_TOKENS).where(F.col("tokens") > 0).select("doc_id", "warc_filename")
    chosen = _chosen(documents.join(copy_ids, "doc_id", how="left_anti"), F.col("doc_id"))
    archives = sorted({row["warc_filename"] for row in chosen})
    ids = [row["doc_id"] for row in chosen]
    texts = lake.read(tables.DOCUMENTS).where(F.col("warc_filename").isin(archives) & F.col("doc_id").isin(ids))
    corpus = lake.read(tables.CORPUS).where(F.col("recipe") == recipe)
    kept_ids = [row["doc_id"] for row in _chosen(corpus.select("doc_id"), F.col("doc_id"))]
    kept = corpus.where(F.col("doc_id").isin(kept_ids))
    return distinct_gain(_grams(texts, ids, size), _grams(kept, kept_ids, size))


def _chosen(rows: DataFrame, key: Column) -> list[Row]:
    """The rows whose keys have the smallest hashes: chosen by chance, and always the same."""
    return rows.orderBy(F.xxhash64(key), key).limit(SAMPLE_TEXTS).collect()


def _grams(rows: DataFrame, ids: Sequence[str], size: int) -> list[Grams]:
    """The n-grams at the beginning of each text, in the order of `ids`."""
    # Enough characters for the words: longer ones are no words.
    beginning = F.substring("text", 1, 40 * FIRST_WORDS).alias("text")
    texts = {row["doc_id"]: row["text"] for row in rows.select("doc_id", beginning).collect()}
    return [ngrams(texts[each], size) for each in ids if each in texts]


def ngrams(text: str, size: int) -> Grams:
    """Runs of `size` words among the first `FIRST_WORDS` words, as `etl.kernels.minhash` splits them."""
    words = minhash.words(text)[:FIRST_WORDS]
    return [tuple(words[place : place + size]) for place in range(len(words) - size + 1)]


def distinct_gain(before: Sequence[Grams], after: Sequence[Grams]) -> Gain | None:
    """Share of different n-grams on both sides, at as many n-grams as the smaller side has."""
    total = min(sum(map(len, before)), sum(map(len, after)))
    return gain(estimates.distinct(before, total), estimates.distinct(after, total)) if total else None
