"""How right and how fast the packaged model of quality is.

    python -m tests.bench.quality_model --jsonl FILE --text-field text --label-field label [--threshold 3]
    python -m tests.bench.quality_model speed --jsonl FILE --text-field text [--model PATH]

The first scores the texts of JSON lines whose labels are good or bad, 1 or 0, true or false, high or low, or numbers
with a threshold, and compares: the area under the ROC curve with its 95 % interval (DeLong), in all and by length, what
length alone would give, the correlation of ranks and the calibration error; the last line is the area. A text without a
score takes the lowest. The second gives documents per second and core in one call, against a call for each text and
against naming the language of the text with fastText (lid.176) alone; times are CPU times of one process, the best of
three. `--model` is a file that `train-quality` has written.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Any

import numpy as np

from etl.errors import GoldenlakeError, InputError
from etl.kernels import language
from etl.kernels import quality_model as kernel
from etl.kernels.ranking import auc_interval
from etl.labelled import labelled, rows
from etl.learn import quality

LENGTHS = (0, 600, 1500, 4000, 1 << 40)  # characters
FEWEST = 5  # of each label, for an area of a part
ROUNDS = 3


def say(line: str) -> None:
    sys.stdout.write(f"{line}\n")


def against_labels(options: argparse.Namespace, settings: kernel.Settings) -> None:
    texts, labels = labelled(options.jsonl, options.text_field, options.label_field, threshold=options.threshold)
    found = kernel.score(texts, settings)
    lacking = sum(each.score is None for each in found)
    scores = np.array([0.0 if each.score is None else each.score for each in found])
    lengths = np.array(list(map(len, texts)))
    say(f"{len(texts):,} texts, {int(labels.sum()):,} labelled yes, {lacking:,} without a score")
    for low, high in pairwise(LENGTHS):
        inside = (lengths >= low) & (lengths < high)
        if min(labels[inside].sum(), (~labels[inside]).sum()) >= FEWEST:
            upto = f"below {high:,}" if high < LENGTHS[-1] else "or more"
            say(f"{low:,} characters, {upto}: {auc_interval(labels[inside], scores[inside])}")
    say(f"length alone {auc_interval(labels, lengths)}")
    area = auc_interval(labels, scores)
    say(f"Spearman {quality.spearman(labels.astype(np.float64), scores):.4f}")
    say(f"calibration error {quality.calibration(labels, scores)[0]:.4f}")
    say(f"AUC {area}")
    say(f"AUC {area.value:.4f}")


def speed(options: argparse.Namespace, settings: kernel.Settings) -> None:
    texts = [row[options.text_field] for _, row in rows(options.jsonl) if isinstance(row.get(options.text_field), str)]
    if not texts:
        raise InputError(f"{options.jsonl}: no row has a string in {options.text_field!r}")
    say(f"{len(texts):,} texts, {sum(map(len, texts)) / len(texts):,.0f} characters on average")
    kernel.check(settings)
    for name, run in (
        ("score", lambda: kernel.score(texts, settings)),
        ("score, a call a text", lambda: [kernel.score([text], settings) for text in texts]),
        ("fastText lid.176 alone", lambda: language.detect(texts)),
    ):
        say(f"{name:24}{len(texts) / seconds(run):10,.0f} documents/s/core")


def seconds(run: Callable[[], Any]) -> float:
    """CPU seconds of the fastest of a few runs."""
    took = []
    for _ in range(ROUNDS):
        started = time.process_time()
        run()
        took.append(time.process_time() - started)
    return max(min(took), 1e-9)


def main(argv: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("mode", nargs="?", choices=("labels", "speed"), default="labels")
    parser.add_argument("--jsonl", required=True)
    parser.add_argument("--text-field", default="text")
    parser.add_argument("--label-field", default="label")
    parser.add_argument("--threshold", type=float, help="labels are numbers, and yes from here on")
    parser.add_argument("--model", default=kernel.PACKAGED)
    options = parser.parse_args(argv)
    try:
        (speed if options.mode == "speed" else against_labels)(options, kernel.Settings(model=options.model))
    except GoldenlakeError as error:
        raise SystemExit(str(error)) from error


if __name__ == "__main__":
    main()
