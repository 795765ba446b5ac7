"""The factors of the quality score that a lake can tell, and why it cannot tell the others."""

from __future__ import annotations

from etl.kernels.quality_score import Factor, Gain, Part
from etl.report.gains import FIRST_WORDS, SAMPLE_TEXTS
from etl.report.instructions import PROMPT_GRAM

_NO_JUDGE = (
    "needs answers of the aligned model and of its parent, scored blind by a judge that was checked against people"
)


def parts(
    *,
    value: Gain | None,
    by: str | None,
    unique: Gain | None,
    is_near: bool,
    diversity: Gain | None,
    prompts: Gain | None,
) -> tuple[Part, ...]:
    """Data, Instruction and Alignment. Baselines: all documents with text; all examples as imported; the parent model.

    `value` is the mean score by the model `by`: the classifier of educational value where it has scored every document,
    else the packaged model of quality, which measures something near it. `unique` counts near copies as copies when
    `is_near`, letter-by-letter ones alone when not.

    Preference accuracy, which models of the lake have, is no measure of helpfulness: it says which of two given answers
    a model finds likelier, and models that rank well need not answer well (Chen et al. 2024, arXiv 2405.19534).
    """
    data = (
        Factor(
            "educational value",
            f"mean score by {by}" if by else "mean educational score",
            value,
            "" if value else "needs an educational score, or one of quality, of every document",
        ),
        Factor(
            "deduplication",
            f"share of documents that are no {'copy or near copy' if is_near else 'letter-by-letter copy'} of another",
            unique,
            "" if unique else "needs documents with text and a corpus",
        ),
        Factor(
            "diversity",
            f"share of different 5-grams of words in the first {FIRST_WORDS} words of at most {SAMPLE_TEXTS:,} texts "
            f"chosen by hash, one copy of each, at equal numbers of 5-grams (distinct-5)",
            diversity,
            "" if diversity else "needs two texts at least before and after",
        ),
    )
    instruction = (
        Factor("complexity", "mean complexity", missing="needs a scorer of complexity, such as DEITA's"),
        Factor(
            "diversity",
            f"share of different {PROMPT_GRAM}-grams of words in at most {SAMPLE_TEXTS:,} prompts chosen by hash, at "
            f"equal numbers of {PROMPT_GRAM}-grams (distinct-{PROMPT_GRAM}); copies count",
            prompts,
            "" if prompts else "needs instruction data that a recipe has decided about",
        ),
        Factor(
            "correctness", "share of answers that are right", missing="needs a check of answers, by rules or a judge"
        ),
    )
    alignment = (
        Factor(
            "helpfulness",
            "win rate against the parent",
            missing=f"{_NO_JUDGE}; accuracy on held-out preference pairs is no measure of it",
        ),
        Factor("harmlessness", "share of harmless answers", missing=_NO_JUDGE),
        Factor("honesty", "share of true answers", missing=_NO_JUDGE),
    )
    return Part("Data", data), Part("Instruction", instruction), Part("Alignment", alignment)
