"""Documents per second of `etl.kernels.quality` beside the same filters of datatrove.

    python tests/bench/bench_quality.py TEXTS.jsonl

TEXTS.jsonl has one object per line with a key ``text``. datatrove is compared when it can be
imported; it pins other packages, so give it an environment of its own:

    python -m venv datatrove-env
    datatrove-env/bin/pip install "datatrove[processing]" spacy pyarrow tiktoken fasttext-community
    PYTHONPATH=. datatrove-env/bin/python tests/bench/bench_quality.py TEXTS.jsonl

Times are CPU times of this process, best of the rounds, so other work on the machine counts
little. Texts are cut to a length, as filters cost by the character.
"""

from __future__ import annotations

import argparse
import functools
import importlib.util
import json
import logging
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from etl.kernels import language, quality, tokens


@dataclass(frozen=True)
class Timing:
    name: str
    documents: int
    characters: int
    seconds: float

    def __str__(self) -> str:
        rate, mega = self.documents / self.seconds, self.characters / self.seconds / 1e6
        return f"{self.name:44}{rate:10,.0f} documents/s{mega:8.2f} million characters/s"


def timing(name: str, run: Callable[[Sequence[str]], object], texts: Sequence[str], rounds: int) -> Timing:
    """Best CPU time over `rounds`; one run before them loads what is loaded once."""
    run(texts[:10])
    best = float("inf")
    for _ in range(rounds):
        start = time.process_time()
        run(texts)
        best = min(best, time.process_time() - start)
    return Timing(name, len(texts), sum(map(len, texts)), best)


def datatrove_filters() -> dict[str, Any]:
    """datatrove's filters with the parameters of FineWeb."""
    from datatrove.pipeline import filters

    return {
        "Gopher repetition": filters.GopherRepetitionFilter(),
        "Gopher quality": filters.GopherQualityFilter(),
        "C4": filters.C4QualityFilter(filter_no_terminal_punct=False),
        "FineWeb": filters.FineWebQualityFilter(),
    }


def run_datatrove(filters: Sequence[Any], texts: Sequence[str]) -> list[list[str | None]]:
    """Per text and filter: why it was dropped, or None. Every filter sees the text as it was."""
    from datatrove.data import Document

    reasons = []
    for text in texts:
        of_text = []
        for a_filter in filters:
            outcome = a_filter.filter(Document(text=text, id="0"))
            of_text.append(outcome[1] if isinstance(outcome, tuple) else None if outcome else "dropped")
        reasons.append(of_text)
    return reasons


# Per rule of datatrove: our signal and the bound that FineWeb gives it.
SAME_RULES: dict[str, Callable[[quality.Signals], bool]] = {
    "dup_line_frac": lambda s: s.duplicate_line_ratio > 0.3,
    "dup_line_char_frac": lambda s: s.duplicate_line_char_ratio > 0.2,
    "top_2_gram": lambda s: s.top_2gram_char_ratio > 0.2,
    "top_3_gram": lambda s: s.top_3gram_char_ratio > 0.18,
    "top_4_gram": lambda s: s.top_4gram_char_ratio > 0.16,
    "duplicated_5_n_grams": lambda s: s.duplicate_5gram_char_ratio > 0.15,
    "duplicated_6_n_grams": lambda s: s.duplicate_6gram_char_ratio > 0.14,
    "duplicated_7_n_grams": lambda s: s.duplicate_7gram_char_ratio > 0.13,
    "duplicated_8_n_grams": lambda s: s.duplicate_8gram_char_ratio > 0.12,
    "duplicated_9_n_grams": lambda s: s.duplicate_9gram_char_ratio > 0.11,
    "duplicated_10_n_grams": lambda s: s.duplicate_10gram_char_ratio > 0.10,
    "gopher_short_doc": lambda s: s.words < 50,
    "gopher_below_avg_threshold": lambda s: s.mean_word_length < 3,
    "gopher_above_avg_threshold": lambda s: s.mean_word_length > 10,
    "gopher_too_many_bullets": lambda s: s.bullet_line_ratio > 0.9,
    "gopher_too_many_end_ellipsis": lambda s: s.ellipsis_line_ratio > 0.3,
    "gopher_below_alpha_threshold": lambda s: s.alpha_word_ratio < 0.8,
    "gopher_enough_stop_words": lambda s: s.stop_words < 2,
    "lorem_ipsum": lambda s: s.lorem_ipsum > 0,
    "curly_bracket": lambda s: s.curly_brackets > 0,
    "too_few_sentences": lambda s: s.fineweb_sentences < 5,
    "line_punct_ratio": lambda s: s.punctuated_line_ratio < 0.12,
    "short_line_ratio": lambda s: s.short_line_ratio > 0.67,
    "char_dup_ratio": lambda s: s.duplicate_line_char_ratio > 0.01,
    "list_ratio": lambda s: s.newline_word_ratio > 0.3,
}


def compare(texts: Sequence[str], reasons: Sequence[Sequence[str | None]]) -> list[str]:
    """One line per rule of datatrove that fired, or whose like fires here.

    A filter of datatrove stops at its first rule that fires, so a rule counts as not met by
    datatrove only where that filter kept the text or stopped at this rule.
    """
    signals = [quality.signals(text) for text in texts]
    rules = list(SAME_RULES)
    lines = [f"{'rule':32}{'both':>8}{'datatrove only':>16}{'ours only':>12}"]
    for rule in rules:
        both = theirs = ours = 0
        for of_text, found in zip(reasons, signals, strict=True):
            fires, fired = SAME_RULES[rule](found), rule in of_text
            both += fires and fired
            theirs += fired and not fires
            ours += fires and not fired and not set(of_text) - {None}
        lines.append(f"{rule:32}{both:8}{theirs:16}{ours:12}")
    return lines


def main(argv: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("texts", help="JSON lines with a key text")
    parser.add_argument("--characters", type=int, default=3000, help="cut each text to so many; drop shorter ones")
    parser.add_argument("--documents", type=int, default=1000)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args(argv)
    with open(options.texts, encoding="utf-8") as file:
        texts = [json.loads(line)["text"] for line in file]
    texts = [text[: options.characters] for text in texts if len(text) >= options.characters][: options.documents]

    write = sys.stdout.write
    write(f"{len(texts):,} texts of {options.characters:,} characters\n")
    for name, run in (
        ("quality.batch, 33 signals", quality.batch),
        ("quality.signals, one text a call", lambda some: [quality.signals(text) for text in some]),
        ("language.detect", language.detect),
        ("tokens.counter('gpt2')", tokens.counter("gpt2")),
    ):
        write(f"{timing(name, run, texts, options.rounds)}\n")
    if importlib.util.find_spec("datatrove") is None:
        write("datatrove is not installed; --help says how to compare with it\n")
        return
    logging.disable(logging.CRITICAL)
    filters = datatrove_filters()
    for name, chosen in [*((name, [one]) for name, one in filters.items()), ("all four", list(filters.values()))]:
        seconds = timing(f"datatrove {name}", functools.partial(run_datatrove, chosen), texts, rounds=1)
        write(f"{seconds}\n")
    write("\n".join(compare(texts, run_datatrove(list(filters.values()), texts))) + "\n")


if __name__ == "__main__":
    main()
