"""Spark NLP in the JVM against our own engines: documents per second and core, and how far the two agree.

    ./run python -m tests.bench.spark_nlp python --to DIR --warc PAGES.warc.gz ... [--pages N]
    ./run --spark 3.5 python -m tests.bench.spark_nlp jvm --from DIR

The first part needs PyTorch (`./run setup tests`): it writes the texts of the pages, all-MiniLM-L6-v2 as ONNX and the
vectors of `etl.kernels.embed`, with their times. The second makes the same tables on Spark 3.5, warm, best of some
rounds. Times are CPU times: of one process for a kernel, of the JVM and its Python workers for a stage.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from etl.kernels import sentences

ROUNDS = 3
WARMING = 50  # documents
ENCODER, DOCUMENTS, VECTORS, TIMES = "all-MiniLM-L6-v2-onnx", "documents.parquet", "vectors.npy", "times.json"


def cpu_seconds(root: int) -> float:
    """CPU time that a process and all that come from it have taken, those that have ended included."""
    parents, seconds = {}, {}
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = path.read_text().rpartition(")")[2].split()
        except OSError:  # it has ended
            continue
        parents[int(path.parent.name)] = int(fields[1])
        seconds[int(path.parent.name)] = sum(map(int, fields[11:15])) / os.sysconf("SC_CLK_TCK")
    family = {root}
    while more := {child for child, parent in parents.items() if parent in family} - family:
        family |= more
    return sum(seconds[process] for process in family & seconds.keys())


def python(folder: Path, warcs: Sequence[str], pages: int) -> None:
    """Texts, model and vectors, for the other part to compare with."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    from etl.kernels import embed
    from etl.learn import onnx_encoder
    from tests.bench import language

    folder.mkdir(parents=True, exist_ok=True)
    texts = [text for _, text in language.pages(warcs)][:pages]
    ids = [f"{number:06}" for number in range(len(texts))]
    pq.write_table(pa.table({"doc_id": ids, "warc_filename": ["pages"] * len(ids), "text": texts}), folder / DOCUMENTS)
    embed.embed(texts[:WARMING])
    start = time.process_time()
    vectors = embed.embed(texts)
    seconds = time.process_time() - start
    np.save(folder / VECTORS, vectors)
    (folder / TIMES).write_text(json.dumps({"embed": len(texts) / seconds}))
    onnx_encoder.export(embed.Settings(), folder / ENCODER)
    sys.stdout.write(f"{len(texts):,} pages of {statistics.mean(map(len, texts)):,.0f} characters in {folder}\n")


def jvm(folder: Path) -> None:
    """The same documents through Spark NLP, and what differs."""
    from etl import session
    from etl.learn import doc2vec
    from etl.stage import NoParams
    from etl.stages import sentences as ours
    from etl.stages import spark_nlp

    write = sys.stdout.write
    spark = session.connect(session.SessionConfig(cores=1, driver_memory="3g", nlp=True), log=folder / "spark.log")
    documents = spark.read.parquet(str(folder / DOCUMENTS)).coalesce(1).cache()
    texts = {row.doc_id: row.text for row in documents.collect()}
    rows = len(texts)

    java = spark.sparkContext._gateway.proc.pid

    def rate(name: str, made: Callable[[], Any]) -> None:
        best = float("inf")
        for _ in range(ROUNDS + 1):  # the first is for the JVM to compile
            start = cpu_seconds(java)
            made().write.format("noop").mode("overwrite").save()
            best = min(best, cpu_seconds(java) - start)
        write(f"{name:44}{rows / best:10,.1f} documents/s/core\n")

    start = time.process_time()
    found = {key: sentences.sentences(text) for key, text in texts.items()}
    write(f"{'sentences, kernel alone':44}{rows / (time.process_time() - start):10,.1f} documents/s/core\n")
    rate("sentences, Python stage", lambda: ours.document_sentences(documents, NoParams()))
    cut = lambda: spark_nlp.document_sentences(documents, spark_nlp.JvmSentenceParams())  # noqa: E731
    rate("sentences, Spark NLP", cut)
    _compare(found, {row.doc_id: row for row in cut().collect()}, texts, write)

    times = json.loads((folder / TIMES).read_text())
    write(f"{'MiniLM, kernel alone (PyTorch)':44}{times['embed']:10,.1f} documents/s/core\n")
    encoder = spark_nlp.JvmEmbedParams(str(folder / ENCODER))
    rate("MiniLM, Spark NLP (ONNX)", lambda: spark_nlp.document_embeddings(documents, encoder))
    made = {row.doc_id: row.embedding for row in spark_nlp.document_embeddings(documents, encoder).collect()}
    wanted = np.load(folder / VECTORS)
    keys = [key for key in sorted(texts) if key in made]
    cosines = np.sort(np.sum([made[key] for key in keys] * wanted[[int(key) for key in keys]], axis=1))
    shares = ", ".join(f"above {limit}: {np.mean(cosines > limit):.4f}" for limit in (0.9, 0.99, 0.999, 0.99999))
    write(f"  {len(keys):,} of {rows:,} vectors; cosine with the kernel's: least {cosines[0]:.6f}, ")
    write(f"mean {cosines.mean():.6f}, {shares}\n")

    start = cpu_seconds(java)
    doc2vec.train(documents, doc2vec.Doc2VecParams(), str(folder / "doc2vec"))
    write(f"{'Doc2Vec, training':44}{rows / (cpu_seconds(java) - start):10,.1f} documents/s/core\n")
    model = spark_nlp.JvmEmbedParams(str(folder / "doc2vec"))
    rate("Doc2Vec, Spark NLP", lambda: spark_nlp.document_embeddings(documents, model))
    _agree(spark_nlp.document_embeddings(documents, model).collect(), wanted, write)
    spark.stop()


def _compare(
    found: dict[str, list[sentences.Sentence]], rows: dict[str, Any], texts: dict[str, str], write: Callable[[str], Any]
) -> None:
    """How many places where one engine ends a sentence are ends for the other."""
    both = mine = theirs = equal = tokens = own_tokens = broken = 0
    for key, text in texts.items():
        left = {end for _, end, _ in found[key]}
        right = {sentence.end for sentence in rows[key].sentences}
        both, mine, theirs = both + len(left & right), mine + len(left), theirs + len(right)
        equal += left == right
        own_tokens += sum(sentence.tokens for sentence in found[key])
        tokens += rows[key].tokens
        cut = "".join(text[sentence.start : sentence.end] for sentence in rows[key].sentences)
        broken += "".join(cut.split()) != "".join(text.split())
    write(f"  ends of sentences: {mine:,} ours, {theirs:,} of Spark NLP, {both:,} of both: ")
    write(f"precision {both / theirs:.4f}, recall {both / mine:.4f}, F1 {2 * both / (mine + theirs):.4f}; ")
    write(f"all the same in {equal} of {len(texts):,} documents; {broken} with characters in no sentence\n")
    write(f"  tokens: {own_tokens:,} ours, {tokens:,} of Spark NLP\n")


def _agree(rows: Sequence[Any], wanted: np.ndarray, write: Callable[[str], Any]) -> None:
    """Whether neighbours by Doc2Vec are those of MiniLM: share of the ten nearest that both have."""
    keys = [int(row.doc_id) for row in rows]
    left = np.asarray([row.embedding for row in rows], dtype=np.float32)
    nearest = []
    for matrix in (left, wanted[keys]):
        cosines = matrix @ matrix.T
        np.fill_diagonal(cosines, -2)
        nearest.append(np.argsort(-cosines, axis=1)[:, :10])
    shared = [len(set(a) & set(b)) / 10 for a, b in zip(*nearest, strict=True)]
    write(f"  {len(keys):,} vectors; of the ten nearest documents {np.mean(shared):.3f} are those of MiniLM ")
    write(f"(by chance {10 / max(len(keys) - 1, 1):.3f})\n")


def main(argv: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parts = parser.add_subparsers(dest="part", required=True)
    first = parts.add_parser("python")
    first.add_argument("--to", type=Path, required=True)
    first.add_argument("--warc", nargs="+", required=True)
    first.add_argument("--pages", type=int, default=1000)
    parts.add_parser("jvm").add_argument("--from", type=Path, required=True, dest="folder")
    options = parser.parse_args(argv)
    if options.part == "python":
        python(options.to, options.warc, options.pages)
    else:
        jvm(options.folder)


if __name__ == "__main__":
    main()
