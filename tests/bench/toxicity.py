"""How well `etl.kernels.toxicity` agrees with people, where it fails, and how fast it is.

    python -m tests.bench.toxicity --jsonl FILE --text-field text --label-field label [--threshold 0.5]
    python -m tests.bench.toxicity hatecheck --data DIR
    python -m tests.bench.toxicity pages --warc PAGES.warc.gz ... [--toxic FILE.jsonl --text-field text]
    python -m tests.bench.toxicity speed [--jsonl FILE --text-field text] [--limit 2000]

The first command reads JSON lines, or CSV with a header line (``.csv``, ``.csv.gz``), whose labels say toxic or not;
its last line is the area under the ROC curve. `hatecheck` reads the functional tests in English
(``hatecheck_en_test_suite_cases.csv.gz``, Roettger et al. 2021) and in ten languages (``mhc/``, Roettger et al. 2022)
and prints for each functionality the share of right decisions at the threshold. The packaged model was trained on them,
so for figures of cases that it never saw give `--model` one that was trained without, with `--held-out` as it names
the templates: those whose hash is odd. `pages` counts how many real pages reach a threshold, by language, and with
`--toxic` what the score is when a share of a clean page's sentences is replaced by texts of that file. `speed` gives
documents per second and core in batches and one by one. With `--baselines`, packages that are installed among
alt-profanity-check and better-profanity are measured in the same run. Times are CPU times of one process.
"""

from __future__ import annotations

import argparse
import csv
import gzip
import hashlib
import importlib.util
import random
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np
from fastwarc.warc import ArchiveIterator, WarcRecordType
from numpy.typing import NDArray
from resiliparse.extract.html2text import extract_plain_text

from etl import labelled, sample
from etl.errors import InputError
from etl.kernels import html, intervals, language, ranking, toxicity
from etl.kernels.toxicity import Settings

Floats = NDArray[np.float64]
Engine = Callable[[Sequence[str]], Floats]

SHARES = (0.0, 0.01, 0.05, 0.1, 0.25, 0.5, 1.0)
MAX_PAGE_BYTES = 1 << 20
THRESHOLD = 0.5


def say(line: str) -> None:
    sys.stdout.write(f"{line}\n")


def both(texts: Sequence[str], settings: Settings) -> tuple[Floats, Floats]:
    """Score and worst sentence of each text; texts without words have 0."""
    found = toxicity.score(texts, settings)
    return np.array([each.score or 0.0 for each in found]), np.array([each.worst or 0.0 for each in found])


def engines(options: argparse.Namespace) -> dict[str, Engine]:
    """The packaged model, and if wanted the other packages that are installed."""
    settings = Settings(model=options.model)
    found: dict[str, Engine] = {"toxicity": lambda texts: both(texts, settings)[0]}
    if options.baselines:
        if importlib.util.find_spec("profanity_check"):
            from profanity_check import predict_prob

            found["alt-profanity-check"] = lambda texts: np.asarray(predict_prob(list(texts)), np.float64)
        if importlib.util.find_spec("better_profanity"):
            from better_profanity import profanity

            profanity.load_censor_words()
            found["better-profanity"] = lambda texts: np.array([profanity.contains_profanity(t) for t in texts], float)
    return found


def table(path: Path) -> list[dict[str, str]]:
    """The rows of a CSV file, compressed with gzip if its name ends in ``.gz``."""
    with gzip.open(path, "rt", encoding="utf-8") if path.suffix == ".gz" else path.open(encoding="utf-8") as lines:
        return list(csv.DictReader(lines))


def read(options: argparse.Namespace) -> labelled.Labelled:
    path = Path(options.jsonl)
    if ".csv" not in path.suffixes:
        return labelled.labelled(
            path, options.text_field, options.label_field, names=labelled.TOXICITY, threshold=options.label_threshold
        )
    rows = table(path)
    labels = [_is_toxic(row.get(options.label_field), options.label_threshold) for row in rows]
    texts = [row.get(options.text_field) for row in rows]
    bad = [number for number, pair in enumerate(zip(texts, labels, strict=True), start=1) if None in pair]
    if bad or not rows:
        raise InputError(
            f"{path}: {len(bad):,} of {len(rows):,} rows lack a text in {options.text_field!r} or a label in "
            f"{options.label_field!r} that is understood, the first is row {bad[0] if bad else 0}; "
            f"fields found: {', '.join(rows[0] if rows else ())}"
        )
    return labelled.Labelled([str(text) for text in texts], np.array(labels, np.bool_))


def _is_toxic(label: str | None, threshold: float | None) -> bool | None:
    if label is None:
        return None
    if threshold is not None:
        return float(label) >= threshold
    return labelled.TOXICITY.get("-".join(label.strip().lower().replace("_", " ").split()))


def against_labels(options: argparse.Namespace) -> None:
    found = read(options)
    worst = both(found.texts, Settings(model=options.model))[1]
    for name, engine in engines(options).items():
        scores = engine(found.texts)
        right = int(((scores >= options.threshold) == found.labels).sum())
        say(f"{name:20} {ranking.auc_interval(found.labels, scores)}; right at {options.threshold}: "
            f"{right / len(scores):.4f}")  # fmt: skip
        if name == "toxicity":
            own = scores
    say(f"{'worst sentence':20} {ranking.auc_interval(found.labels, worst)}")
    for low in np.arange(0, 1, 0.1):
        inside = (own >= low) & (own < low + 0.1 + (low > 0.85))
        if inside.any():
            say(f"  score {low:.1f} to {low + 0.1:.1f}: {int(inside.sum()):6,} texts, mean {own[inside].mean():.3f}, "
                f"labelled toxic {found.labels[inside].mean():.3f}")  # fmt: skip
    say(f"AUC {ranking.auc(found.labels, own):.4f}")


def held_out(row: dict[str, str]) -> bool:
    """The template of a case, or the one it was made from, is on the side that `--held-out` measures."""
    name = str(int(float(row.get("ref_templ_id") or row["templ_id"])))
    return int(hashlib.sha256(name.encode()).hexdigest()[:8], 16) % 2 == 1


def hatecheck(options: argparse.Namespace) -> None:
    folder = Path(options.data)
    suites = {"english": table(folder / "hatecheck_en_test_suite_cases.csv.gz")}
    for path in sorted(folder.glob("mhc/hatecheck_cases_final_*.csv.gz")):
        suites[path.name.split("_")[-1].partition(".")[0]] = table(path)
    if options.held_out:
        suites = {name: [row for row in rows if held_out(row)] for name, rows in suites.items()}
    by_kind: dict[str, dict[str, list[bool]]] = defaultdict(lambda: defaultdict(list))
    for engine, run in engines(options).items():
        say(f"\n{engine}\n{'language':12} AUC; right decisions; called hateful though not")
        for name, rows in suites.items():
            scores = run([row["test_case"] for row in rows])
            labels = np.array([row["label_gold"] == "hateful" for row in rows])
            right = (scores >= options.threshold) == labels
            wrongly = 1 - right[~labels].mean()
            say(f"{name:12} {ranking.auc_interval(labels, scores)}; {right.mean():.3f}; {wrongly:.3f}")
            for row, is_right in zip(rows, right, strict=True):
                suite = "english" if name == "english" else "others"
                by_kind[row["functionality"]][f"{engine} {suite}"].append(bool(is_right))
    say(f"\nshare of right decisions at {options.threshold} by functionality")
    for kind, found in sorted(by_kind.items()):
        cells = "; ".join(f"{name} {np.mean(each):.3f} of {len(each):,}" for name, each in found.items())
        say(f"{kind:24} {cells}")


def texts_of(paths: Sequence[str]) -> Iterator[tuple[str, str]]:
    """Language and main text of every page of the archives that has 200 characters of it."""
    for path in paths:
        with open(path, "rb") as stream:
            for record in ArchiveIterator(stream, record_types=WarcRecordType.response):
                body = record.reader.read(MAX_PAGE_BYTES)
                charset = record.http_charset if record.http_headers else None
                text = extract_plain_text(html.decode(body, charset)[0], main_content=True)
                if len(text) >= 200:
                    ((code, score),) = language.detect([text])
                    yield (code or "und") if (score or 0) >= 0.65 else "und", text


def pages(options: argparse.Namespace) -> None:
    found = list(texts_of(options.warc))
    settings = Settings(model=options.model)
    scores, worst = both([text for _, text in found], settings)
    codes = np.array([code for code, _ in found])
    for code in ["", *sorted(set(codes), key=lambda each: -int((codes == each).sum()))[:8]]:
        chosen = (codes == code) | (code == "")
        measures = (("score", scores, 0.5), ("worst", worst, 0.5), ("worst", worst, 0.8))
        cells = [f"{name} at {at} or more {_share(values[chosen] >= at)}" for name, values, at in measures]
        say(f"{code or 'all':4} {'; '.join(cells)}; mean score {scores[chosen].mean():.3f}")
    if options.toxic:
        planted([text for code, text in found if code == "en"], options, settings)


def _share(hits: NDArray[np.bool_]) -> str:
    low, high = intervals.wilson(int(hits.sum()), hits.size)
    return f"{hits.mean():.3f} [{low:.3f}, {high:.3f}]"


def planted(clean: Sequence[str], options: argparse.Namespace, settings: Settings) -> None:
    """Scores of clean pages of which a share of the lines is replaced by toxic texts, one at least from 0.01 on."""
    draw = random.Random(1)
    rows = [row for _, row in labelled.rows(options.toxic)]
    toxic = [str(row[options.text_field]).replace("\n", " ") for row in rows]
    docs = [lines for text in clean if len(lines := [line for line in text.split("\n") if line.strip()]) >= 20][:300]
    for share in SHARES:
        texts = []
        for lines in docs:
            count = max(round(share * len(lines)), int(share > 0))
            places = set(draw.sample(range(len(lines)), count))
            texts.append("\n".join(draw.choice(toxic) if at in places else line for at, line in enumerate(lines)))
        scores, worst = both(texts, settings)
        say(f"lines replaced {share:4.2f}: score {np.median(scores):.3f} (median), at {THRESHOLD} or more "
            f"{(scores >= THRESHOLD).mean():.3f}; worst at {THRESHOLD} or more {(worst >= THRESHOLD).mean():.3f}; "
            f"n {len(texts)}")  # fmt: skip


def speed(options: argparse.Namespace) -> None:
    if options.jsonl:
        texts = [str(row[options.text_field]) for _, row in labelled.rows(options.jsonl)][: options.limit]
    else:
        with tempfile.TemporaryDirectory() as folder:
            crawl = sample.write_sample(Path(folder), pages=max(300, options.limit // 4))
            truth = [str(row.get("text") or "") for _, row in labelled.rows(crawl.truth)]
        found = [text for text in truth if text.strip()]
        texts = [found[place % len(found)] for place in range(options.limit)]
    size = sum(map(len, texts)) / len(texts)
    say(f"{len(texts):,} texts of {size:,.0f} characters")
    for name, engine in engines(options).items():
        engine(texts[:50])
        for how, batches in (("in one batch", [texts]), ("one by one", [[text] for text in texts])):
            start = time.process_time()
            for batch in batches:
                engine(batch)
            seconds = time.process_time() - start
            say(f"{name:20} {how:12} {len(texts) / seconds:8,.0f} documents/s/core, "
                f"{sum(map(len, texts)) / seconds / 1e6:.2f} million characters/s")  # fmt: skip


def main(argv: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", nargs="?", choices=("labels", "hatecheck", "pages", "speed"), default="labels")
    parser.add_argument("--jsonl", help="labelled texts")
    parser.add_argument("--text-field", default="text")
    parser.add_argument("--label-field", default="label")
    parser.add_argument("--label-threshold", type=float, help="labels are numbers, toxic from here on")
    parser.add_argument("--threshold", type=float, default=THRESHOLD, help="scores from here on are called toxic")
    parser.add_argument("--data", help="folder of the functional tests")
    parser.add_argument("--held-out", action="store_true")
    parser.add_argument("--warc", nargs="+", default=[])
    parser.add_argument("--toxic", help="JSON lines of toxic texts")
    parser.add_argument("--limit", type=int, default=2000)
    parser.add_argument("--model", default="", help="path of another model")
    parser.add_argument("--baselines", action="store_true")
    options = parser.parse_args(argv)
    needed = {"labels": "jsonl", "hatecheck": "data", "pages": "warc"}.get(options.what)
    if needed and not getattr(options, needed):
        parser.error(f"{options.what} needs --{needed}")
    run = {"labels": against_labels, "hatecheck": hatecheck, "pages": pages, "speed": speed}
    run[options.what](options)


if __name__ == "__main__":
    main()
