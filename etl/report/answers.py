"""The sections that answer the brief's claims, in its order: one function each, named like its template.

Every one shows the claims beside published figures and what the lake has measured (`etl.report.claims`), and then what
else it has measured on the same question, under its own name.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from etl import tables, views
from etl.funnel import STAGE_WORDS
from etl.kernels.quality_score import PHI, TARGET, Gain, score
from etl.lake import sql_string
from etl.report import gains, models
from etl.report.claims import Fact, Measured, Value, compare
from etl.report.clusters import METHODS
from etl.report.models import Evaluation, Model
from etl.report.quality import parts
from etl.report.sections import Data, Subject
from etl.stages.curate import DUPLICATES
from etl.stages.dedup import EXACT, MINHASH, SEMANTIC

EDU, QUALITY, TOXICITY = "edu", "quality", "toxicity"  # the scorers that answer the claims
EVALUATIONS = 120  # rows that are shown
TIMES = "\N{MULTIPLICATION SIGN}"
BENCHMARKS = {  # of the brief, with names under which a lake may have measured them
    "mmlu": "MMLU",
    "hellaswag": "HellaSwag",
    "gsm8k": "GSM8K",
    "humaneval": "HumanEval",
    "mt_bench": "MT-Bench",
    "alpaca_eval": "AlpacaEval",
}


def curation(subject: Subject) -> Data:
    """1. Curation stages and their gain."""
    scores, wanted = subject.scores, gains.recipe_languages(subject.applied)
    values: dict[str, Value | None] = {
        "clean_text": _measured(scores.clean_text if scores else None, "pages"),
        "language_purity": _measured(gains.true_purity(scores, wanted), "documents"),
        "unique_exact": _measured(subject.copies[EXACT].documents, "documents"),
        "unique_near": _measured(subject.copies[MINHASH].documents, "documents"),
        "unique_semantic": _measured(subject.copies[SEMANTIC].documents, "documents"),
        "educational_value": _measured(_average(subject, EDU), "documents", "score"),
        "toxicity": _measured(subject.scored[TOXICITY].flagged if TOXICITY in subject.scored else None, "documents"),
    }
    detected = gains.detected_purity(subject.view(views.LANGUAGE_SHARES), wanted)
    return {
        "comparison": compare("curation", values),
        "detected": detected,
        "languages": sorted(wanted or ()),
        "scores": scores,
        "asked": subject.funnel.duplicates or (),
        "quality": subject.scored.get(QUALITY),
        "toxicity": subject.scored.get(TOXICITY),
    }


def _average(subject: Subject, scorer: str) -> Gain | None:
    return subject.scored[scorer].average if scorer in subject.scored else None


def _measured(gain: Gain | None, items: str, shown: str = "share") -> Measured | None:
    return None if gain is None else Measured(gain, items, shown)


@dataclass(frozen=True)
class Stage:
    """The rules of a recipe that read one stage, together."""

    word: str
    rules: int
    documents_dropped: int
    tokens_dropped: int
    documents_left: int
    tokens_left: int


def classifier(subject: Subject) -> Data:
    """2. Quality classifier, before and after; and what the rules of the recipe did in its place."""
    stages: list[Stage] = []
    steps = [step for step in subject.funnel.steps if step.tokens_dropped or step.stage in _AFTER_TEXT]
    for word in dict.fromkeys(STAGE_WORDS.get(step.stage, step.stage) for step in steps):
        mine = [step for step in steps if STAGE_WORDS.get(step.stage, step.stage) == word]
        stages.append(
            Stage(
                word,
                len(mine),
                sum(step.documents_dropped for step in mine),
                sum(step.tokens_dropped for step in mine),
                mine[-1].documents_left,
                mine[-1].tokens_left,
            )
        )
    values = {"classifier_score": _measured(_average(subject, EDU), "documents", "score")}
    comparison = compare("classifier", values)
    return {
        "comparison": comparison,
        "stages": stages,
        "funnel": subject.funnel,
        "quality": subject.scored.get(QUALITY),
    }


_AFTER_TEXT = ("document_language", "document_quality", "document_tokens", "duplicate_clusters")


# The steps of the brief and what it says of SlimPajama, by method.
SLIMPAJAMA = {
    None: ("original", "1.2T tokens"),
    EXACT: ("exact", "800B (\N{MINUS SIGN}33%)"),
    MINHASH: ("fuzzy", "627B (\N{MINUS SIGN}48% in all)"),
    SEMANTIC: ("semantic", ""),
}


@dataclass(frozen=True)
class Left:
    """Documents and their tokens, and the share of the tokens that there were before any deduplication."""

    documents: int
    tokens: float
    share: float | None


@dataclass(frozen=True)
class Level:
    """What a method of deduplication leaves, after those before it: of all documents with text, and of those that pass
    the rules of the recipe; None where it was not looked for."""

    name: str
    words: str
    brief: str
    everything: Left | None
    passed: Left | None


def deduplication(subject: Subject) -> Data:
    """3. Documents and tokens before, after exact, after fuzzy and after semantic deduplication."""
    copies = subject.copies
    values = {
        "exact_tokens": _measured(copies[EXACT].tokens, "documents", "number"),
        "fuzzy_tokens": _measured(copies[MINHASH].tokens, "documents", "number"),
        "semantic_tokens": _measured(copies[SEMANTIC].tokens, "documents", "number"),
    }
    return {
        "comparison": compare("deduplication", values),
        "levels": list(_levels(subject)) if copies[EXACT].tokens else [],
        "unique": [(METHODS[method], copies[method].documents) for method in gains.LEVELS if copies[method].documents],
        "near": subject.near,
        "recall": subject.recall,
        "semantic_recall": subject.semantic_recall,
    }


def _levels(subject: Subject) -> Iterator[Level]:
    """The steps of deduplication: those of the claim, and what the recipe looks for besides."""
    funnel, copies = subject.funnel, subject.copies
    steps = {step.rule: step for step in funnel.steps if step.stage == tables.DUPLICATE_CLUSTERS.name}
    used = {method for method, (rule, _) in DUPLICATES.items() if rule in steps or method in (funnel.duplicates or ())}
    at_first = (
        funnel.kept + sum(step.documents_dropped for step in steps.values()),
        funnel.kept_tokens + sum(step.tokens_dropped for step in steps.values()),
    )
    whole = copies[EXACT].tokens
    all_at_first = (whole.before.n, whole.before.value) if whole else None
    name, brief = SLIMPAJAMA[None]
    yield Level(name, "", brief, _left(all_at_first, all_at_first), _left(at_first, at_first))
    left = at_first
    for method, (rule, _) in DUPLICATES.items():
        if method not in used and method not in gains.LEVELS:
            continue
        if rule in steps:
            left = (left[0] - steps[rule].documents_dropped, left[1] - steps[rule].tokens_dropped)
        measured = copies[method].tokens if method in copies else None
        own_name, words = METHODS[method]
        name, brief = SLIMPAJAMA.get(method, (own_name, ""))
        yield Level(
            name,
            words,
            brief,
            _left((measured.after.n, measured.after.value) if measured else None, all_at_first),
            _left(left if method in used else None, at_first),
        )


def _left(now: tuple[int, float] | None, before: tuple[int, float] | None) -> Left | None:
    if now is None or before is None:
        return None
    return Left(*now, now[1] / before[1] if before[1] else None)


def mixture(subject: Subject) -> Data:
    """4. Asked, available and realised shares of every training set."""
    names = ("web", "code", "math", "books", "academic")
    sets = subject.training_sets
    return {
        "comparison": compare("mixture", {f"share_{name}": _realised(sets, "documents", name) for name in names}),
        "sets": sets,
    }


def _realised(sets: Iterable[Data], kind: str, source: str) -> Fact | None:
    """The share of a source by tokens and by rows, in the sets of a kind that ask for it."""
    found = [
        (each, share)
        for each in sets
        for share in each["shares"]
        if each["kind"] == kind and share["source"] == source and share["asked_share"] is not None
    ]
    if not found:
        return None
    each, share = found[0]
    more = f", and {len(found) - 1} more sets have it" if len(found) > 1 else ""
    return Fact(
        f"{share['share'] or 0:.1%} of tokens, {share['row_share'] or 0:.1%} of rows",
        f"counted in set {each['training_set']}, {share['documents']:,} rows{more}",
    )


def instruction_sources(subject: Subject) -> Data:
    """5. Instruction data by source."""
    return {
        "comparison": compare("instruction_sources"),
        "sources": subject.instruction_sources,
        "by": subject.instruction_recipe,
        "others": len(subject.instruction_recipes) - 1,
    }


def instruction_mixture(subject: Subject) -> Data:
    """6. Instruction mixture, asked and realised by tokens and by rows."""
    names = ("flan", "oasst", "sharegpt", "code", "math", "safety")
    sets = [each for each in subject.training_sets if each["kind"] == "examples"]
    values = {f"share_{name}": _realised(sets, "examples", name) for name in names}
    return {
        "comparison": compare("instruction_mixture", values),
        "sets": [each for each in sets if not each["is_held_out"]],
    }


def methods(subject: Subject) -> Data:
    """7. Alignment methods: what each model took and learned."""
    times = {f"time_{method}": _time(subject.models, method) for method in ("sft", "dpo", "simpo", "orpo")}
    return {
        "comparison": compare("methods", times),
        "models": subject.models,
        "curves": models.curves(subject.lake, subject.models),
        "frame": (models.WIDTH, models.HEIGHT),
        "evaluations": _of_models(subject.evaluations),
        "page_model": sql_string(subject.models[-1].name) if subject.models else None,
        "place": subject.place,
    }


def _time(models: Iterable[Model], method: str) -> Fact | None:
    """Training time against that of the model by SFT that it began as."""
    timed = [model for model in models if model.method == method and model.time is not None]
    if not timed:
        return None
    if method == "sft":
        return Fact(f"1{TIMES}", "by definition")
    texts = [f"{model.time:.2f}{TIMES} ({model.name} over {model.sft})" for model in timed[:3]]
    tokens = ", ".join(f"{model.token_time:.2f}{TIMES}" for model in timed[:3])
    return Fact("; ".join(texts), f"per token {tokens}; one run each, which have other rows and steps, no interval")


def _of_models(evaluations: Iterable[Evaluation]) -> dict[str, list[Evaluation]]:
    found: dict[str, list[Evaluation]] = {}
    for evaluation in evaluations:
        found.setdefault(evaluation.model, []).append(evaluation)
    return found


def self_play(subject: Subject) -> Data:
    """8. SPIN iterations, in the order of their lineage."""
    iterations = [model for model in subject.models if model.method == "spin"]
    return {
        "comparison": compare("self_play"),
        "iterations": iterations,
        "evaluations": _of_models(subject.evaluations),
    }


def benchmarks(subject: Subject) -> Data:
    """9. What models get on benchmarks, and the change against the parent."""
    return {
        "comparison": compare("benchmarks"),
        "evaluations": subject.evaluations[:EVALUATIONS],
        "count": len(subject.evaluations),
        "known": {model.name for model in subject.models},
        "of_the_brief": sorted({BENCHMARKS[e.benchmark] for e in subject.evaluations if e.benchmark in BENCHMARKS}),
    }


def quality_and_quantity(subject: Subject) -> Data:
    """10. Quality against quantity: models from scratch by tokens, and what they get on held-out text."""
    pretrained = [model for model in subject.models if model.method == "pretrain"]
    return {
        "comparison": compare("quality_and_quantity"),
        "models": pretrained,
        "evaluations": _of_models(e for e in subject.evaluations if e.metric == "bits_per_byte"),
        "experiments": subject.experiments,
    }


def quality_score(subject: Subject) -> Data:
    """11. The quality score, factor by factor."""
    near = subject.copies[MINHASH].documents
    unique, is_near = near or subject.copies[EXACT].documents, near is not None
    found = parts(
        value=_average(subject, EDU) or _average(subject, QUALITY),
        by=next((subject.scored[each].model for each in (EDU, QUALITY) if _average(subject, each)), None),
        unique=unique,
        is_near=is_near,
        diversity=subject.diversity,
        prompts=subject.instruction_diversity,
    )
    whole = score(found)
    text = (
        None if whole is None else Fact(f"{whole.value:.3f}", f"{whole.low:.3f} to {whole.high:.3f}, n = {whole.n:,}")
    )
    return {
        "comparison": compare("quality_score", {"quality_score": text}),
        "parts": found,
        "whole": whole,
        "phi": PHI,
        "target": TARGET,
        "by": subject.instruction_recipe,
    }


@dataclass(frozen=True)
class Step:
    """A step of curation, and the measure that says what it gave."""

    name: str
    what: str
    gain: Gain | None
    items: str


# Of each method of `gains.LEVELS` what it finds, with what those before it find.
_COPIES = ("copy", "copy or near copy", "copy, near copy or of the same meaning")


def returns(subject: Subject) -> Data:
    """12. What each step returned: curation by ratio, training by change against the parent and what it took."""
    scores, wanted = subject.scores, gains.recipe_languages(subject.applied)
    steps = (
        Step("extraction", "word-level F1 against the true main text", scores.clean_text if scores else None, "pages"),
        Step(
            "rule on language", "documents truly in the languages asked", gains.true_purity(scores, wanted), "documents"
        ),
        *[
            Step(f"{METHODS[method][0]} deduplication", f"documents that are no {words}", found.documents, "documents")
            for (method, found), words in zip(subject.copies.items(), _COPIES, strict=True)
        ],
        Step("recipe as a whole", "different 5-grams of words", subject.diversity, "texts"),
        Step("instruction recipe", "different 3-grams of prompts", subject.instruction_diversity, "prompts"),
    )
    changed = _of_models(e for e in subject.evaluations if e.change is not None)
    return {
        "comparison": compare("returns"),
        "steps": [step for step in steps if step.gain is not None],
        "changes": [(model, changed[model.name]) for model in subject.models if model.name in changed],
    }
