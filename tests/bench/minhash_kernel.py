"""Speed and memory of the MinHash kernel beside datasketch and datatrove, on the same texts in the same run.

    python -m tests.bench.minhash_kernel [--jsonl FILE --text-field text] [--datatrove PYTHON]

Without a file the texts are those of `tests.bench.planted`. For each geometry of ``conf/minhash``: documents a second
of CPU time of `batch`, which makes two hashes, the bands and a sketch of each text, and of datasketch, which is given
the same shingles as strings and makes signatures only. datatrove runs its own step for signatures, with the geometry
of FineWeb, in the interpreter that PYTHON names, as it pins other packages:

    python -m venv datatrove-env
    datatrove-env/bin/pip install "datatrove[processing]" spacy

Then the memory that one text of 200 MB takes beyond its own, in a process of its own, and the curve of each geometry.
"""

from __future__ import annotations

import argparse
import gzip
import json
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from itertools import islice
from pathlib import Path

import numpy as np
import pyarrow as pa
from datasketch import MinHash  # type: ignore[import-untyped]  # it has no stubs

from etl import config
from etl.kernels import minhash, shingles
from etl.kernels.minhash import Geometry
from tests.bench import planted

ROOT = Path(__file__).parents[2]
OTHER_SIDE = Path(__file__).with_name("minhash_datatrove.py")
BATCH = 1000  # documents in a batch of Arrow
FEW = 100  # documents for the slower ones
HUGE = ("words", "one line of letters", "Chinese without spaces")


def write(line: str) -> None:
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


def read(path: Path, field: str) -> Iterator[str]:
    with gzip.open(path, "rt", encoding="utf-8") if path.suffix == ".gz" else path.open(encoding="utf-8") as file:
        for line in file:
            text = str(json.loads(line).get(field) or "").encode("utf-8", "replace").decode("utf-8")
            if text and not text.isspace():
                yield text


def best_seconds(work: Callable[[], object], rounds: int) -> float:
    """Least CPU time of some rounds."""
    best = float("inf")
    for _ in range(rounds):
        start = time.process_time()
        work()
        best = min(best, time.process_time() - start)
    return best


def of_datasketch(texts: Sequence[str], geometry: Geometry) -> None:
    for text in texts:
        units = shingles.words(text) if geometry.unit == shingles.WORDS else shingles.characters(text)
        joined = " " if geometry.unit == shingles.WORDS else ""
        runs = range(max(1, len(units) - geometry.size + 1))
        sketch = MinHash(geometry.bands * geometry.rows, seed=geometry.seed)
        sketch.update_batch({joined.join(units[start : start + geometry.size]).encode() for start in runs})


def of_datatrove(python: str, texts: Sequence[str]) -> float:
    """CPU seconds of datatrove for all texts."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "texts.jsonl"
        path.write_text("".join(json.dumps(text) + "\n" for text in texts), encoding="utf-8")
        answer = subprocess.run([python, str(OTHER_SIDE), str(path)], stdout=subprocess.PIPE, text=True, check=True)
    return float(json.loads(answer.stdout.splitlines()[-1])["seconds"])


def write_huge(kind: str, megabytes: int, path: Path) -> None:
    """A text in which hardly any shingle is repeated."""
    rng = np.random.default_rng(1)
    with path.open("w", encoding="utf-8") as file:
        for _ in range(megabytes):
            if kind == "words":
                file.write(" ".join(map(str, rng.integers(100_000, 1_000_000, (1 << 20) // 7).tolist())) + " ")
            elif kind == "one line of letters":
                file.write(rng.integers(97, 123, 1 << 20, dtype=np.uint8).tobytes().decode())
            else:
                file.write(rng.integers(0x4E00, 0x9000, (1 << 20) // 3, dtype=np.uint16).tobytes().decode("utf-16-le"))


def memory(text: Path, path: Path) -> None:
    """Print what `batch` takes for one text; the child of `of_one_text`, which holds nothing else."""
    data = pa.py_buffer(text.read_bytes())
    ends = pa.py_buffer(np.array([0, data.size], np.int64))
    texts = pa.LargeStringArray.from_buffers(1, ends, data)
    geometry = config.load(path, Geometry)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    start = time.process_time()
    minhash.batch(texts, geometry)
    seconds = time.process_time() - start
    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    write(json.dumps({"megabytes": (most - before) / 1024, "seconds": seconds}))


def of_one_text(kind: str, megabytes: int, path: Path) -> str:
    with tempfile.TemporaryDirectory() as folder:
        text = Path(folder) / "text"
        write_huge(kind, megabytes, text)
        command = [sys.executable, "-m", "tests.bench.minhash_kernel", "--one-text", str(text), "--geometry", str(path)]
        answer = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True, cwd=ROOT)
    found = json.loads(answer.stdout)
    return f"{found['megabytes']:,.0f} MB beyond the text, {found['seconds']:.0f} s"


def main(argv: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--jsonl", type=Path)
    parser.add_argument("--text-field", default="text")
    parser.add_argument("--documents", type=int, default=2000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--datatrove", help="an interpreter that has datatrove")
    parser.add_argument("--rounds", type=int, default=3, help="the best counts")
    parser.add_argument("--megabytes", type=int, default=200, help="size of the huge texts; 0 for none")
    parser.add_argument("--one-text", type=Path, help="only measure what the text in a file takes")
    parser.add_argument(
        "--geometry", type=Path, default=ROOT / "conf" / "minhash" / "fineweb.yaml", help="of the huge texts"
    )
    options = parser.parse_args(argv)
    if options.one_text:
        memory(options.one_text, options.geometry)
        return

    found = (
        read(options.jsonl, options.text_field)
        if options.jsonl
        else (document.text for document in planted.documents(options.documents, options.seed))
    )
    texts = list(islice(found, options.documents))
    batches = [pa.array(texts[start : start + BATCH]) for start in range(0, len(texts), BATCH)]
    size = sum(len(text.encode()) for text in texts)
    write(
        f"{len(texts):,} documents of {size / len(texts):,.0f} bytes, {np.mean([t.isascii() for t in texts]):.0%} ASCII"
    )
    speeds = {}
    write(f"{'geometry':40}{'documents/s/core':>17}{'MB/s':>7}{'datasketch':>11}{'times':>7}")
    geometries = [config.load(path, Geometry) for path in sorted((ROOT / "conf" / "minhash").glob("*.yaml"))]
    for each in geometries:
        seconds = best_seconds(lambda each=each: [minhash.batch(batch, each) for batch in batches], options.rounds)  # type: ignore[misc]
        few = best_seconds(lambda each=each: of_datasketch(texts[:FEW], each), 1)  # type: ignore[misc]
        speeds[each.name] = len(texts) / seconds
        other = len(texts[:FEW]) / few
        write(
            f"{each.name + ': ' + each.label.partition(', seed')[0]:40}{speeds[each.name]:17,.0f}"
            f"{size / seconds / 1e6:7.0f}{other:11,.0f}{speeds[each.name] / other:7.1f}"
        )
    fineweb = next(each for each in geometries if each.name == "fineweb")
    left, right = texts[:-1], texts[1:]
    seconds = best_seconds(lambda: minhash.compare(left, right, fineweb), options.rounds)
    write(f"compare: {len(left) / seconds:,.0f} pairs/s/core of neighbours, each text in two")
    for kind in HUGE if options.megabytes else ():
        write(f"one text of {options.megabytes} MB, {kind}: {of_one_text(kind, options.megabytes, options.geometry)}")
    for each in geometries:
        write(str(minhash.curve(each)))
    own = f"goldenlake {speeds['fineweb']:,.0f} documents/s/core"
    if options.datatrove:
        other = len(texts) / of_datatrove(options.datatrove, texts)
        write(f"{own}, datatrove {other:,.0f}: {speeds['fineweb'] / other:.1f} times")
    else:
        write(f"{own}; --datatrove names an interpreter that has datatrove, to compare with")


if __name__ == "__main__":
    main()
