"""Speed of the kernel for sequence classifiers beside a loop and beside transformers' pipeline, in the same run.

    python -m tests.bench.classifier_speed [--device cpu|cuda] [--jsonl FILE --text-field text] [--limit 12]
        [--model FOLDER_OR_ID --label LABEL] [--precision bfloat16] [--tasks 2]

Without a model it is one of BERT-base's size (FineWeb-Edu's classifier has it) with random weights, which are as fast
as trained ones, and a WordPiece tokenizer trained on the texts. Without a file the texts are those of
`tests.bench.planted`. Each reads the first 512 tokens: the kernel in its batches, a loop over texts, and the pipeline
in batches of 8. Scores are compared, times are CPU time of one thread on a CPU and wall time on a GPU.

The share of peak counts the operations that the texts need, padding not included, against those of one large product
of matrices on the same device, and on a GPU against the published peak too. `--tasks` runs that many processes on one
GPU at once, as ``spark.task.resource.gpu.amount`` of 1/tasks would.
"""

from __future__ import annotations

import argparse
import gc
import multiprocessing
import os
import resource
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np

from etl.kernels import classifier, transformer
from etl.kernels.classifier import Settings
from tests.bench import planted
from tests.bench.minhash_kernel import read

WINDOW = 512
PIPELINE_BATCH = 8
WARM = 2  # texts before the clock starts on a CPU
VOCABULARY = 30522  # of BERT
PEAK = {  # FLOP/s of dense products, as NVIDIA publishes them
    ("H100", "bfloat16"): 989e12, ("H100", "float16"): 989e12, ("H100", "float32"): 67e12,
    ("H200", "bfloat16"): 989e12, ("H200", "float16"): 989e12, ("H200", "float32"): 67e12,
    ("A100", "bfloat16"): 312e12, ("A100", "float16"): 312e12, ("A100", "float32"): 19.5e12,
}  # fmt: skip


def say(line: str) -> None:
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


def base_size(folder: Path, texts: Sequence[str]) -> str:
    """A classifier of BERT-base's size: 12 layers of 768, one output."""
    import torch
    import transformers
    from tokenizers import BertWordPieceTokenizer

    library: Any = transformers
    words = BertWordPieceTokenizer(lowercase=True)
    words.train_from_iterator(texts, vocab_size=VOCABULARY, show_progress=False)
    words.save_model(str(folder))
    library.utils.logging.disable_progress_bar()
    torch.manual_seed(1)
    model = library.BertForSequenceClassification(
        library.BertConfig(vocab_size=VOCABULARY, num_labels=1, problem_type="regression")
    )
    model.save_pretrained(folder)
    library.BertTokenizerFast(vocab=str(folder / "vocab.txt"), model_max_length=WINDOW).save_pretrained(folder)
    return str(folder)


def operations(lengths: Sequence[int], config: Any) -> float:
    """Floating point operations of an encoder for windows of these many tokens, the products of matrices alone."""
    width, inner = config.hidden_size, config.intermediate_size
    tokens = float(sum(lengths))
    squares = float(sum(length * length for length in lengths))
    return float(
        config.num_hidden_layers * (2 * tokens * (4 * width * width + 2 * width * inner) + 4 * squares * width)
    )


def warm(texts: Sequence[str], device: str) -> Sequence[str]:
    """What is done before the clock starts; a GPU chooses its kernels for every new shape."""
    return texts if device == "cuda" else texts[:WARM]


def seconds(work: Callable[[], Any], device: str) -> tuple[float, Any]:
    """How long `work` takes, and what it gives."""
    import torch

    gc.collect()
    clock = time.perf_counter if device == "cuda" else time.process_time
    start = clock()
    found = work()
    if device == "cuda":
        torch.cuda.synchronize()
    return clock() - start, found


def product_peak(device: str, precision: str) -> float:
    """FLOP/s of one large product of matrices, the best of some."""
    import torch

    size = 8192 if device == "cuda" else 2048
    left, right = (torch.randn(size, size, device=device, dtype=getattr(torch, precision)) for _ in range(2))
    torch.mm(left, right)
    return 2 * size**3 / min(seconds(lambda: torch.mm(left, right), device)[0] for _ in range(3))


def loop(texts: Sequence[str], asked: Settings, device: str) -> list[float]:
    """A text at a time, as a function for one row would do it."""
    torch, transformers = transformer.libraries()
    folder = transformer.folder(asked.model, asked.model)
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    model = transformers.AutoModelForSequenceClassification.from_pretrained(
        folder, dtype=getattr(torch, asked.precision)
    )
    model = model.to(device).eval()

    def run(texts: Sequence[str]) -> list[float]:
        found = []
        with torch.inference_mode():
            for text in texts:
                batch = tokenizer(text, truncation=True, max_length=WINDOW, return_tensors="pt").to(device)
                found.append(float(model(**batch).logits[0, 0]))
        return found

    run(warm(texts, device))
    return timed("one by one", lambda: run(texts), texts, device)


def piped(texts: Sequence[str], asked: Settings, device: str) -> list[float]:
    """transformers' pipeline in batches of `PIPELINE_BATCH`, each padded to its longest text."""
    torch, transformers = transformer.libraries()
    pipe = transformers.pipeline(
        "text-classification",
        model=str(transformer.folder(asked.model, asked.model)),
        device=device,
        dtype=getattr(torch, asked.precision),
    )

    def run(texts: Sequence[str]) -> list[float]:
        options = {"batch_size": PIPELINE_BATCH, "truncation": True, "max_length": WINDOW, "function_to_apply": "none"}
        return [each["score"] for each in pipe(list(texts), **options)]

    run(warm(texts, device))
    return timed(f"pipeline, batches of {PIPELINE_BATCH}", lambda: run(texts), texts, device)


RATES: dict[str, float] = {}  # documents a second, by name


def timed(name: str, work: Callable[[], Any], texts: Sequence[str], device: str) -> Any:
    taken, found = seconds(work, device)
    RATES[name] = len(texts) / taken
    say(f"{name:28}{len(texts) / taken:10,.2f} documents/s{'/core' if device == 'cpu' else ''}")
    return found


def at_once(texts: Sequence[str], asked: Settings, barrier: Any, results: Any) -> None:
    """What one of several processes on a GPU does."""
    classifier.score(texts, asked)
    barrier.wait()
    start = time.perf_counter()
    classifier.score(texts, asked)
    results.put((start, time.perf_counter()))


def shared(texts: Sequence[str], asked: Settings, tasks: int) -> float:
    """Documents a second of several processes on one device."""
    spawn = multiprocessing.get_context("spawn")
    barrier, results = spawn.Barrier(tasks), spawn.Queue()
    workers = [spawn.Process(target=at_once, args=(texts, asked, barrier, results)) for _ in range(tasks)]
    for worker in workers:
        worker.start()
    times = [results.get() for _ in workers]
    for worker in workers:
        worker.join()
    return tasks * len(texts) / (max(end for _, end in times) - min(start for start, _ in times))


def measure(texts: Sequence[str], asked: Settings, device: str, tasks: int) -> None:
    import torch

    loaded = classifier._classifier(asked)
    ids = loaded.tokenizer(list(texts), truncation=True, max_length=WINDOW)["input_ids"]
    lengths = [len(each) for each in ids]
    say(f"{len(texts):,} texts, {np.mean(lengths):,.0f} tokens on average of at most {WINDOW}, {asked.precision}")
    classifier.score(warm(texts, device), asked)
    name = "kernel, by length"
    found = timed(name, lambda: classifier.score(texts, asked), texts, device)
    ours = RATES[name]
    tokens = ours * float(np.mean(lengths))
    needed = ours * operations(lengths, loaded.model.config) / len(texts)
    peak = product_peak(device, asked.precision)
    say(f"  {tokens:,.0f} tokens/s, {needed / 1e12:,.3f} TFLOP/s, {needed / peak:.0%} of a product of matrices here")
    card = torch.cuda.get_device_name() if device == "cuda" else ""
    for (model, precision), published in PEAK.items():
        if model in card and precision == asked.precision:
            say(f"  {needed / published:.1%} of the {published / 1e12:,.0f} TFLOP/s published for {card}")
    if device == "cuda":
        say(f"  {torch.cuda.max_memory_allocated() / 2**30:.1f} GiB of the GPU at most")
    say(f"  {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20:.1f} GiB of this process at most")
    if tasks > 1:
        together = shared(texts, asked, tasks)
        say(f"{f'{tasks} processes at once':28}{together:10,.2f} documents/s, {together / ours:.2f} of one")
    slow = loop(texts, asked, device)
    batched = piped(texts, asked, device)
    if loaded.model.config.num_labels == 1:
        scores = np.asarray([each.score if each.score is not None else np.nan for each in found])
        apart = [np.nanmax(np.abs(scores - np.asarray(other))) for other in (slow, batched)]
        say(f"scores differ by at most {apart[0]:.1e} from the loop and {apart[1]:.1e} from the pipeline")
    ratios = [f"{ours / rate:.2f} times {other}" for other, rate in RATES.items() if other != name]
    say(f"kernel {ours:,.2f} documents/s: {', '.join(ratios)}")


def main(argv: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", choices=("cpu", "cuda"))
    parser.add_argument("--jsonl", type=Path)
    parser.add_argument("--text-field", default="text")
    parser.add_argument("--limit", type=int)
    parser.add_argument("--model")
    parser.add_argument("--label")
    parser.add_argument("--precision", choices=transformer.PRECISIONS)
    parser.add_argument("--tasks", type=int, default=1)
    options = parser.parse_args(argv)
    if options.device == "cpu":
        os.environ["CUDA_VISIBLE_DEVICES"] = ""
    import torch

    device = options.device or ("cuda" if torch.cuda.is_available() else "cpu")
    if device == "cpu":
        torch.set_num_threads(1)
    limit = options.limit or (2000 if device == "cuda" else 12)
    source = read(options.jsonl, options.text_field) if options.jsonl else (d.text for d in planted.documents(limit, 1))
    texts = list(islice(source, limit))
    precision = options.precision or ("bfloat16" if device == "cuda" else "float32")
    with tempfile.TemporaryDirectory() as folder:
        model = options.model or base_size(Path(folder), texts)
        measure(texts, Settings(model, options.label, precision=precision, activation="none"), device, options.tasks)


if __name__ == "__main__":
    main()
