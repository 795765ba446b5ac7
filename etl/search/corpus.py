"""The domains of a search from a lake: the sources of a mixture as streams of tokens."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping, Sequence

import numpy as np
from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from etl.align import models
from etl.errors import ConfigError
from etl.search.config import Search, Tiers
from etl.search.domains import Domain, Domains, Tokens
from etl.stages.mix import DOCUMENTS, Mixture, Source, TrainingSetParams, can_be_met, training_documents

SPARE = 1.5  # tokens of the lake's tokenizer that are read for each that is wanted, since a small one makes more
ROUND = 256  # texts that are tokenized at a time
TOKENIZER_CHARACTERS = 2_000_000  # of each domain at most, from which the tokenizer is learned

Texts = Mapping[str, Sequence[str]]


def split(mixture: Mixture, tiers: Tiers | None) -> Mixture:
    """The mixture with its sources cut into tiers.

    Raises:
        ConfigError: the tiers are of sources that the mixture does not have.
    """
    if tiers is None:
        return mixture
    names = [source.name for source in mixture.sources]
    unknown = [name for name in tiers.sources or () if name not in names]
    if unknown:
        raise ConfigError(f"tiers.sources names {unknown}, wanted some of the sources {names}")
    sources = tuple(tier for source in mixture.sources for tier in tiers.split(source))
    return dataclasses.replace(mixture, sources=sources)


def shares(mixture: Mixture) -> list[float] | None:
    """The shares that the mixture gives, if it gives all."""
    given = [demand.share for demand in mixture.demands]
    return None if None in given else [float(share) for share in given if share is not None]


def domains(corpus: DataFrame, settings: Search, mixture: Mixture) -> Domains:
    """The sources of `mixture` among what the recipe kept, up to the wanted tokens of each, in the order of a hash.

    `corpus` is the table at one version, since it is read more than once.

    Raises:
        ConfigError: the mixture holds nothing out, so that there is nothing to measure on.
        InputError: a source has a condition that cannot be read, or no document.
    """
    if mixture.held_out <= 0 or len(mixture.sources) < 2:
        raise ConfigError(
            f"mixture {mixture.name!r} has held_out {mixture.held_out:g} and {len(mixture.sources)} sources, wanted "
            f"more than 0 to measure models on, and at least 2 sources to search among"
        )
    can_be_met(DOCUMENTS, corpus, _drawn(settings, mixture, settings.domain_tokens))
    counts = available(corpus, settings.recipe, mixture)
    learned = texts(corpus, settings, mixture, tokens=settings.domain_tokens)
    held_out = texts(corpus, settings, mixture, tokens=None)
    return tokenized(settings, learned, held_out, counts)


def available(corpus: DataFrame, recipe: str, mixture: Mixture) -> dict[str, int]:
    """Tokens of each source that has any; a document is of the first source that it fits."""
    source = F.coalesce(*[F.when(F.expr(each.where), F.lit(each.name)) for each in mixture.sources])
    rows = corpus.where(F.col("recipe") == recipe).select(source.alias("drawn_for"), "tokens")
    sums = rows.where(F.col("drawn_for").isNotNull()).groupBy("drawn_for").agg(F.sum("tokens").alias("tokens"))
    return {row["drawn_for"]: row["tokens"] for row in sums.collect()}


def texts(corpus: DataFrame, settings: Search, mixture: Mixture, *, tokens: int | None) -> Texts:
    """Texts of each source in the order of a hash: of what may be learned from, or of what is held out."""
    params = _drawn(settings, mixture, tokens)
    documents = training_documents(corpus, params).orderBy("position")
    wanted = SPARE * (tokens or 2 * settings.held_out_tokens)
    found: dict[str, list[str]] = {source.name: [] for source in mixture.sources}
    read = dict.fromkeys(found, 0)
    for row in documents.select("source", "text", "tokens").toLocalIterator():
        if read[row["source"]] < wanted:
            found[row["source"]].append(row["text"])
            read[row["source"]] += row["tokens"]
        elif min(read.values()) >= wanted:
            break
    return found


def _drawn(settings: Search, mixture: Mixture, tokens: int | None) -> TrainingSetParams:
    """As many tokens of each source, each document once; without a number, all that the mixture holds out."""
    count = len(mixture.sources)
    plain = tuple(Source(source.name, source.where, 1 / count) for source in mixture.sources)
    budget = None if tokens is None else int(tokens * SPARE) * count
    drawn = dataclasses.replace(mixture, sources=plain, tokens=budget, temperature=None, short="allow")
    return TrainingSetParams(f"search {settings.name}", settings.recipe, drawn, held_out=tokens is None)


def tokenized(settings: Search, learned: Texts, held_out: Texts, counts: Mapping[str, int]) -> Domains:
    """Domains from their texts, in the order of `learned`, and the tokens there are of each.

    They share a tokenizer, which is learned from the same number of characters of each. Held-out texts go to validation
    and test in turn. A text ends with an end-of-text token.
    """
    tokenizer = models.train_tokenizer(_alike(learned), settings.vocab_size, "chatml")
    special = set(tokenizer.all_special_ids)
    # A token of a byte-level vocabulary is written with one character per byte.
    names = tokenizer.convert_ids_to_tokens([*range(len(tokenizer))])
    sizes = np.array([0 if place in special else len(name) for place, name in enumerate(names)], dtype=np.int64)

    def stream(own: Sequence[str], most: int) -> Tokens:
        pieces, total = [np.empty(0, dtype=np.uint32)], 0
        for start in range(0, len(own), ROUND):
            for ids in tokenizer(list(own[start : start + ROUND]), add_special_tokens=False)["input_ids"]:
                pieces.append(np.array([*ids, tokenizer.eos_token_id], dtype=np.uint32))
                total += len(ids) + 1
            if total >= most:
                break
        return np.concatenate(pieces)[:most]

    most = settings.held_out_tokens
    return Domains(
        tuple(
            Domain(
                name,
                stream(own, settings.domain_tokens),
                stream(held_out[name][0::2], most),
                stream(held_out[name][1::2], most),
                counts[name],
            )
            for name, own in learned.items()
        ),
        sizes,
    )


def _alike(learned: Texts) -> Iterator[str]:
    """Texts of all domains, up to as many characters of each as the smallest domain has, or `TOKENIZER_CHARACTERS`."""
    least = min(sum(map(len, of_domain)) for of_domain in learned.values())
    for of_domain in learned.values():
        left = max(1, min(least, TOKENIZER_CHARACTERS))
        for text in of_domain:
            yield text[:left]
            left -= len(text)
            if left <= 0:
                break
