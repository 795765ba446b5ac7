"""`etl.evaluate` beside lm-evaluation-harness: the same model, the same local files, item by item, with times.

    python tests/bench/bench_lm_eval.py MODEL --hellaswag VAL.jsonl.gz --mmlu TEST.jsonl.gz --mmlu-dev DEV.jsonl.gz

MODEL is what transformers loads, or ``random``: a small Llama with random weights. lm-eval pins other packages, so
give it an environment of its own that also has goldenlake[align]:

    python -m venv lm-eval-env
    lm-eval-env/bin/pip install lm-eval==0.4.13 -e ".[align]"
    lm-eval-env/bin/python tests/bench/bench_lm_eval.py MODEL ...

Rows of HellaSwag have query, choices and gold, preprocessed; rows of MMLU question, subject, choices and answer. Times
are CPU times of the calls that score requests, tokenizing included, on one thread, so other work on the machine counts
little; both sides take turns. Bits per byte are compared with rolled log-likelihoods of lm-eval, and with a plain loop.
"""

from __future__ import annotations

import argparse
import json
import logging
import math
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from etl.align import models
from etl.align.config import Architecture
from etl.align.models import Loaded
from etl.evaluate import Benchmark, Data, Given, Item, data, evaluate
from etl.evaluate.scorer import Scorer
from etl.evaluate.tasks import TASKS


@dataclass
class Clock:
    """Seconds of CPU in the calls that are timed."""

    seconds: float = 0.0

    @contextmanager
    def running(self) -> Iterator[None]:
        start = time.process_time()
        yield
        self.seconds += time.process_time() - start


@dataclass
class Side:
    """What one program found: 1 or 0 by item and metric, the prompts, log-likelihoods by item and choice."""

    right: dict[str, list[float]] = field(default_factory=dict)
    prompts: list[str] = field(default_factory=list)
    logprobs: list[list[float]] = field(default_factory=list)
    seconds: float = 0.0


@dataclass(frozen=True)
class TimedScorer(Scorer):
    """A scorer that keeps what it scored and how long it took."""

    clock: Clock = field(default_factory=Clock)
    kept: list[float] = field(default_factory=list)

    def loglikelihoods(self, requests: Sequence[tuple[str, str]]) -> list[Any]:
        with self.clock.running():
            found = super().loglikelihoods(requests)
        self.kept.extend(each.logprob for each in found)
        return found


def ours(loaded: Loaded, benchmark: Benchmark, given: Given, batch_tokens: int | None) -> Side:
    scorer = TimedScorer(loaded, batch_tokens)
    items: list[Item] = TASKS[benchmark.task].measure(scorer, benchmark, given)
    side = Side(seconds=scorer.clock.seconds)
    for item in items:
        side.right.setdefault(item.metric, []).append(item.value)
    side.prompts = [item.prompt or "" for item in items if item.metric == "accuracy"]
    side.logprobs = [scorer.kept[place : place + 4] for place in range(0, len(scorer.kept), 4)]
    return side


def theirs(lm: Any, configs: Sequence[dict[str, Any]], shots: int) -> Side:
    """The same by lm-eval: several tasks count as one, in their order."""
    import lm_eval

    clock, scored = Clock(), lm.loglikelihood

    def timed(requests: Any, **rest: Any) -> Any:
        with clock.running():
            return scored(requests, **rest)

    lm.loglikelihood = timed
    found = lm_eval.simple_evaluate(
        model=lm, tasks=list(configs), num_fewshot=shots, log_samples=True, bootstrap_iters=0, verbosity="ERROR"
    )
    lm.loglikelihood = scored
    side = Side(seconds=clock.seconds)
    names = {"acc": "accuracy", "acc_norm": "accuracy_per_character"}
    for config in configs:
        for sample in sorted(found["samples"][config["task"]], key=lambda sample: sample["doc_id"]):
            for theirs_name, name in names.items():
                if theirs_name in sample:
                    side.right.setdefault(name, []).append(float(sample[theirs_name]))
            arguments = sample["arguments"]
            side.prompts.append(arguments["gen_args_0"]["arg_0"] if isinstance(arguments, dict) else arguments[0][0])
            side.logprobs.append([float(each[0][0]) for each in sample["resps"]])
    return side


def hellaswag_config(path: Path) -> dict[str, Any]:
    return {
        "task": "hellaswag_local",
        "dataset_path": "json",
        "dataset_kwargs": {"data_files": {"test": str(path)}},
        "output_type": "multiple_choice",
        "test_split": "test",
        "doc_to_text": "{{query}}",
        "doc_to_choice": "choices",
        "doc_to_target": "gold",
        "metric_list": [{"metric": "acc"}, {"metric": "acc_norm"}],
    }


def mmlu_config(subject: str, test: Path, dev: Path) -> dict[str, Any]:
    return {
        "task": f"mmlu_local_{subject}",
        "dataset_path": "json",
        "dataset_kwargs": {"data_files": {"test": str(test), "dev": str(dev)}},
        "output_type": "multiple_choice",
        "test_split": "test",
        "fewshot_split": "dev",
        "fewshot_config": {"sampler": "first_n"},
        "description": f"The following are multiple choice questions (with answers) about {subject.replace('_', ' ')}."
        "\n\n",
        "doc_to_text": "{{question.strip()}}\nA. {{choices[0]}}\nB. {{choices[1]}}\nC. {{choices[2]}}\n"
        "D. {{choices[3]}}\nAnswer:",
        "doc_to_choice": ["A", "B", "C", "D"],
        "doc_to_target": "answer",
        "metric_list": [{"metric": "acc"}],
    }


def compare(name: str, our: Sequence[Side], their: Sequence[Side]) -> None:
    """One line per metric, and one of times; sides are the rounds."""
    a, b = our[0], their[0]
    ours_flat, theirs_flat = ([each for item in side.logprobs for each in item] for side in (a, b))
    gap = max(abs(x - y) for x, y in zip(ours_flat, theirs_flat, strict=True))
    same_prompts = sum(x == y for x, y in zip(a.prompts, b.prompts, strict=True))
    for metric in a.right:
        mine, yours = a.right[metric], b.right[metric]
        agree = sum(x == y for x, y in zip(mine, yours, strict=True))
        say(
            f"{name:12} {metric:24} goldenlake {sum(mine) / len(mine):.4f}  lm-eval {sum(yours) / len(yours):.4f}  "
            f"equal items {agree}/{len(mine)}"
        )
    ours_best, theirs_best = (min(side.seconds for side in sides) for sides in (our, their))
    say(
        f"{name:12} equal prompts {same_prompts}/{len(a.prompts)}, largest difference of a log-likelihood {gap:.1e}; "
        f"seconds: goldenlake {ours_best:.2f}, lm-eval {theirs_best:.2f}, ratio {theirs_best / ours_best:.2f}"
    )


def compare_bits(loaded: Loaded, lm: Any, texts: Sequence[str], batch_tokens: int | None) -> None:
    """Bits per byte by three ways."""
    from lm_eval.api.instance import Instance

    size = sum(len(text.encode()) for text in texts)
    clocks = [Clock(), Clock()]
    rows = [{"text": text} for text in texts]
    with clocks[0].running():
        benchmark = Benchmark("bits", "bits_per_byte", file="texts", context=lm.max_length)
        (found,) = evaluate(loaded, benchmark, Given(Data("texts", "", rows)), batch_tokens=batch_tokens).evaluations
    with clocks[1].running():
        instances = [Instance("loglikelihood_rolling", {}, (text,), place) for place, text in enumerate(texts)]
        rolled = lm.loglikelihood_rolling(instances, disable_tqdm=True)
    plain = sum(plain_nats(loaded, text, lm.max_length) for text in texts)
    say(
        f"bits per byte: goldenlake {found.value:.8f}, lm-eval {-sum(rolled) / math.log(2) / size:.8f}, plain loop "
        f"{plain / math.log(2) / size:.8f}; seconds: {clocks[0].seconds:.2f} and {clocks[1].seconds:.2f}"
    )


@torch.inference_mode()
def plain_nats(loaded: Loaded, text: str, context: int) -> float:
    """One window after the other by PyTorch's cross entropy."""
    ids = [loaded.tokenizer.bos_token_id, *loaded.tokenizer.encode(text, add_special_tokens=False)]
    total = 0.0
    for start in range(1, len(ids), context):
        end = min(start + context, len(ids))
        window = torch.tensor([ids[max(0, end - context - 1) : end]])
        logits = loaded.model(window[:, :-1]).logits[0].double()
        losses = torch.nn.functional.cross_entropy(logits, window[0, 1:], reduction="none")
        total += float(losses[-(end - start) :].sum())
    return total


def random_model(folder: Path, texts: Sequence[str]) -> Path:
    tokenizer = models.train_tokenizer(texts, 4096, "chatml")
    shape = Architecture(hidden_size=128, intermediate_size=344, layers=4, heads=4, context=1024)
    model = models.build(shape, tokenizer, seed=1)
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def say(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", help="what transformers loads, or random")
    parser.add_argument("--hellaswag", type=Path, required=True)
    parser.add_argument("--mmlu", type=Path, required=True)
    parser.add_argument("--mmlu-dev", type=Path, required=True)
    parser.add_argument("--shots", type=int, default=0, help="examples before a question of MMLU")
    parser.add_argument("--limit", type=int, default=200)
    parser.add_argument("--batch-size", type=int, default=8, help="of lm-eval, in requests")
    parser.add_argument("--batch-tokens", type=int, help="of goldenlake, in tokens")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=2)
    options = parser.parse_args()
    logging.disable(logging.WARNING)
    torch.set_num_threads(options.threads)
    with tempfile.TemporaryDirectory() as folder:
        bench(options, Path(folder))


def bench(options: argparse.Namespace, folder: Path) -> None:
    from lm_eval.models.huggingface import HFLM

    hellaswag, mmlu, dev = (data.read(path) for path in (options.hellaswag, options.mmlu, options.mmlu_dev))
    hellaswag, mmlu = hellaswag.head(options.limit), mmlu.head(options.limit)
    queries = [f"{row['query']} {row['choices'][row['gold']]}" for row in hellaswag.rows]
    place = random_model(folder / "model", queries) if options.model == "random" else Path(options.model)
    loaded = models.load(str(place))
    weights = sum(weight.numel() for weight in loaded.model.parameters())
    say(f"{options.model}: {weights:,} weights, {torch.get_num_threads()} thread(s)")

    subjects = list(dict.fromkeys(row["subject"] for row in mmlu.rows))
    configs = [hellaswag_config(write(folder / "hellaswag.jsonl", hellaswag.rows))]
    mmlu_configs = [
        mmlu_config(
            subject,
            write(folder / f"{subject}.jsonl", [row for row in mmlu.rows if row["subject"] == subject]),
            write(folder / f"{subject}_dev.jsonl", [row for row in dev.rows if row["subject"] == subject]),
        )
        for subject in subjects
    ]
    lm = HFLM(pretrained=loaded.model, tokenizer=loaded.tokenizer, batch_size=options.batch_size)
    shots = {"shots": options.shots, "examples": "dev"} if options.shots else {}
    runs = {
        "hellaswag": (Benchmark("h", "hellaswag", file="h"), Given(hellaswag), configs, 0),
        "mmlu": (Benchmark("m", "mmlu", file="m", **shots), Given(mmlu, dev), mmlu_configs, options.shots),
    }
    for name, (benchmark, given, lm_configs, number) in runs.items():
        our, their = [], []
        for _ in range(options.rounds):
            our.append(ours(loaded, benchmark, given, options.batch_tokens))
            their.append(theirs(lm, lm_configs, number))
        compare(name, our, their)
    short = HFLM(pretrained=loaded.model, tokenizer=loaded.tokenizer, batch_size=options.batch_size, max_length=256)
    texts = ["\n".join(queries[start : start + 10]) for start in range(0, min(50, len(queries)), 10)]
    compare_bits(loaded, short, texts, options.batch_tokens)


def write(path: Path, rows: Sequence[Any]) -> Path:
    path.write_text("".join(json.dumps(dict(row)) + "\n" for row in rows), encoding="utf-8")
    return path


if __name__ == "__main__":
    main()
