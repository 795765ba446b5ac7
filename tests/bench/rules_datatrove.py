"""What the filters of datatrove decide, rule by rule: the other side of `tests.bench.rules`.

Run by an interpreter that has datatrove, which pins other packages than this project:

    DATATROVE_PYTHON tests/bench/rules_datatrove.py < request.json > answer.jsonl

The request has `texts`, the path of a file with one JSON string a line, and optionally `values`, pairs
of a line's number and a rule. Without them the answer is one object a text with what each rule
decided (true: drop; null: the rule does not apply to such a text), what the published chains kept,
and on a last line the seconds that the chain of FineWeb took. With them it is, for each pair, the
value that the rule compares with its bound, found by bisection, as filters do not tell it.
"""

from __future__ import annotations

import json
import logging
import sys
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from datatrove.data import Document
from datatrove.pipeline.filters import (
    C4QualityFilter,
    FineWebQualityFilter,
    GopherQualityFilter,
    GopherRepetitionFilter,
)

Make = Callable[[float], Any]  # a filter with one rule alone, from its bound

NO_REPETITION = {
    "dup_line_frac": None,
    "dup_para_frac": None,
    "dup_line_char_frac": None,
    "dup_para_char_frac": None,
    "top_n_grams": (),
    "dup_n_grams": (),
}
NO_QUALITY = {
    "min_doc_words": None,
    "max_doc_words": None,
    "min_avg_word_length": None,
    "max_avg_word_length": None,
    "max_symbol_word_ratio": None,
    "max_bullet_lines_ratio": None,
    "max_ellipsis_lines_ratio": None,
    "max_non_alpha_words_ratio": None,
    "min_stop_words": None,
}
NO_C4 = {"min_num_sentences": -1, "filter_lorem_ipsum": False, "filter_curly_bracket": False}
NEVER = 1e9
NO_FINEWEB = {"line_punct_thr": -1, "short_line_thr": NEVER, "char_duplicates_ratio": NEVER, "new_line_ratio": NEVER}


def repetition(name: str) -> Make:
    return lambda bound: GopherRepetitionFilter(**{**NO_REPETITION, name: bound})


def ngrams(name: str, n: int) -> Make:
    return lambda bound: GopherRepetitionFilter(**{**NO_REPETITION, name: ((n, bound),)})


def quality(name: str) -> Make:
    return lambda bound: GopherQualityFilter(**{**NO_QUALITY, name: bound})


def c4(name: str, punctuated: bool) -> Make:
    def make(bound: float) -> Any:
        value = int(bound) if name == "min_num_sentences" else True
        return C4QualityFilter(**{**NO_C4, name: value, "filter_no_terminal_punct": punctuated})

    return make


def fineweb(name: str) -> Make:
    return lambda bound: FineWebQualityFilter(**{**NO_FINEWEB, name: bound})


# Per rule of a recipe: the same rule of datatrove, and its published bound.
RULES: dict[str, tuple[Make, float]] = {
    "gopher_duplicate_lines": (repetition("dup_line_frac"), 0.3),
    "gopher_duplicate_paragraphs": (repetition("dup_para_frac"), 0.3),
    "gopher_duplicate_line_chars": (repetition("dup_line_char_frac"), 0.2),
    "gopher_duplicate_paragraph_chars": (repetition("dup_para_char_frac"), 0.2),
    **{f"gopher_top_{n}gram": (ngrams("top_n_grams", n), bound) for n, bound in ((2, 0.2), (3, 0.18), (4, 0.16))},
    **{
        f"gopher_duplicate_{n}gram": (ngrams("dup_n_grams", n), bound)
        for n, bound in ((5, 0.15), (6, 0.14), (7, 0.13), (8, 0.12), (9, 0.11), (10, 0.10))
    },
    "gopher_min_words": (quality("min_doc_words"), 50),
    "gopher_max_words": (quality("max_doc_words"), 100_000),
    "gopher_min_word_length": (quality("min_avg_word_length"), 3),
    "gopher_max_word_length": (quality("max_avg_word_length"), 10),
    "gopher_symbols": (quality("max_symbol_word_ratio"), 0.1),
    "gopher_bullets": (quality("max_bullet_lines_ratio"), 0.9),
    "gopher_ellipses": (quality("max_ellipsis_lines_ratio"), 0.3),
    "gopher_alpha_words": (quality("max_non_alpha_words_ratio"), 0.8),
    "gopher_stop_words": (quality("min_stop_words"), 2),
    "c4_sentences": (c4("min_num_sentences", punctuated=True), 5),
    "c4_lorem_ipsum": (c4("filter_lorem_ipsum", punctuated=True), 1),
    "c4_curly_brackets": (c4("filter_curly_bracket", punctuated=True), 1),
    "fineweb_sentences": (c4("min_num_sentences", punctuated=False), 5),
    "fineweb_lorem_ipsum": (c4("filter_lorem_ipsum", punctuated=False), 1),
    "fineweb_curly_brackets": (c4("filter_curly_bracket", punctuated=False), 1),
    "fineweb_punctuated_lines": (fineweb("line_punct_thr"), 0.12),
    "fineweb_short_lines": (fineweb("short_line_thr"), 0.67),
    "fineweb_duplicate_line_chars": (fineweb("char_duplicates_ratio"), 0.01),
    "fineweb_newlines": (fineweb("new_line_ratio"), 0.3),
    "fineweb2_punctuated_lines": (fineweb("line_punct_thr"), 0.12),
    "fineweb2_duplicate_line_chars": (fineweb("char_duplicates_ratio"), 0.1),
    "fineweb2_newlines": (fineweb("new_line_ratio"), 0.3),
}
# These read what C4 leaves of a text, as they follow it in FineWeb.
AFTER_C4 = {
    name for name in RULES if name.startswith("fineweb_") and RULES[name][0](0).name == "\U0001f377 FineWeb Quality"
}


def without_lines(text: str) -> str:
    """`text` as the C4 filter of FineWeb leaves it."""
    document = Document(text=text, id="")
    C4QualityFilter(**NO_C4, filter_no_terminal_punct=False).filter(document)
    return document.text


def reason(a_filter: Any, text: str) -> str | None:
    """Why the filter drops `text`; None where it keeps it, "none" where it cannot be applied."""
    try:
        outcome = a_filter.filter(Document(text=text, id=""))
    except (ZeroDivisionError, ValueError):  # a text without words or lines
        return "none"
    if isinstance(outcome, tuple):
        return "none" if outcome[1] == "empty" else outcome[1]
    return None if outcome else "dropped"


def chain(filters: Sequence[Any], text: str) -> tuple[str | None, str]:
    """Why the first filter that drops `text` does so, and the text as the filters leave it."""
    document = Document(text=text, id="")
    for a_filter in filters:
        outcome = a_filter.filter(document)
        if outcome is not True:
            return outcome[1], document.text
    return None, document.text


def chains() -> dict[str, list[Any]]:
    """The chains of datatrove's examples/fineweb.py, after extraction and language, and the filters of two papers."""
    repetition, quality = GopherRepetitionFilter(), GopherQualityFilter()
    return {
        "fineweb": [repetition, quality, C4QualityFilter(filter_no_terminal_punct=False), FineWebQualityFilter()],
        "gopher": [quality, repetition],
        "c4": [C4QualityFilter()],
    }


def decisions(texts: Sequence[str]) -> Iterator[dict[str, Any]]:
    filters = {name: make(bound) for name, (make, bound) in RULES.items()}
    of_chains = chains()
    for text in texts:
        left = without_lines(text)
        reasons = {name: reason(a_filter, left if name in AFTER_C4 else text) for name, a_filter in filters.items()}
        kept: dict[str, Any] = {}
        for name, members in of_chains.items():
            why, after = chain(members, text)
            kept[name] = {"reason": why, "text": after if why is None else None}
        yield {
            "rules": {name: None if why == "none" else why is not None for name, why in reasons.items()},
            "chains": kept,
        }


def value(rule: str, text: str) -> float | None:
    """The bound at which the decision of `rule` about `text` turns, within a billionth."""
    make, _ = RULES[rule]
    if rule.endswith(("lorem_ipsum", "curly_brackets")):
        return None
    text = without_lines(text) if rule in AFTER_C4 else text
    drops_below = rule.endswith(
        ("min_words", "min_word_length", "alpha_words", "stop_words", "sentences", "punctuated_lines")
    )
    low, high = 1e-12, 1e6  # a bound of zero means to datatrove that there is no rule
    for _ in range(90):
        middle = (low + high) / 2
        if (reason(make(middle), text) is not None) == drops_below:
            high = middle
        else:
            low = middle
    return low


def seconds(texts: Sequence[str]) -> float:
    """CPU time of the FineWeb chain, which leaves a text at the first filter that drops it."""
    members = chains()["fineweb"]
    chain(members, texts[0])
    start = time.process_time()
    for text in texts:
        chain(members, text)
    return time.process_time() - start


def main() -> None:
    logging.disable(logging.CRITICAL)
    warnings.simplefilter("ignore")  # NumPy on the mean of no words
    request = json.load(sys.stdin)
    with open(request["texts"], encoding="utf-8") as file:
        texts = [json.loads(line) for line in file]
    if "values" in request:
        for index, rule in request["values"]:
            sys.stdout.write(json.dumps(value(rule, texts[index])) + "\n")
        return
    for of_text in decisions(texts):
        sys.stdout.write(json.dumps(of_text) + "\n")
    sys.stdout.write(json.dumps({"seconds": seconds(texts)}) + "\n")


if __name__ == "__main__":
    main()
