"""Does curation help? The arms of the experiment `web` on archives, by kernels alone, in few processes.

    python -m tests.bench.curation pages --warc PAGES.warc.gz ... --folder FOLDER [--part 0 --parts 2]
    python -m tests.bench.curation arms --folder FOLDER [--books FOLDER] [--academic FOLDER]
    python -m tests.bench.curation train --folder FOLDER [--seeds 1 2 3] [--steps 100] [--part 0 --parts 2]
    python -m tests.bench.curation table --folder FOLDER

``goldenlake experiment web`` does the same on a lake, with every decision on record; this needs neither lake nor Spark.
Pages of held-out domains (`tests.bench.experiment_pages`) are not read. `arms` writes what each arm has to learn from:
all text that pages show, their main text, and what the packaged recipes leave of it. Main texts are by the network that
has not seen a page's host. Near duplicates are compared shingle by shingle, and a page with an item of what is measured
on (conf/benchmarks/web.yaml, in the folder where this is run) is in no arm. For each arm and seed, `train` begins with
the weights of that seed, takes documents in an order of that seed until `--tokens`, and measures. What is done is not
done again. The tokenizer is learned from as much text of each of five arms.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import torch
from pyspark.sql import Row
from rich.console import Console
from transformers import get_cosine_with_min_lr_schedule_with_warmup

from etl import config, experiment
from etl.align import data, models
from etl.align.config import Training
from etl.evaluate import EvaluationConfig, Given, evaluate
from etl.evaluate import data as rows_of
from etl.kernels import (
    benchmarks,
    contamination,
    content,
    html,
    language,
    lines,
    minhash,
    pii,
    quality,
    quality_model,
    toxicity,
    urls,
    warc,
)
from etl.kernels.benchmarks import BenchmarkList
from etl.stages.curate import Recipe
from tests.bench.experiment_pages import is_held_out, pages

MAX_SOURCE = 3_000_000  # characters of a page
SIMILARITY = 0.8
SHARES = {"scored": 0.71, "books": 0.17, "academic": 0.12}  # conf/mixtures/web-books-academic.yaml
LESS = 4  # of the text of `scored`, `scored-less` has one part in so many
TOKENIZER_CHARACTERS = 400_000  # of each arm
ARMS = ("raw", "extracted", "filtered", "deduplicated", "scored", "mixed", "scored-less")


def read_pages(archives: Sequence[Path], folder: Path, part: int, parts: int) -> None:
    """``pages-PART.jsonl``: of every page that is not held out its address, all its text and its main text."""
    with (folder / f"pages-{part}.jsonl").open("w", encoding="utf-8") as out:
        for place, row in enumerate(row for archive in archives for row in pages(archive)):
            domain = row["url_host_registered_domain"] or row["url_host_name"] or ""
            if place % parts != part or (domain and is_held_out(domain)):
                continue
            body = warc.payload(row["payload"], row["payload_length"])
            source = html.decode(body, row["content_charset_declared"])[0]
            if len(source) <= MAX_SOURCE:
                page = content.read(source)
                main = content.main_text([page], hosts=[domain or None])[0]
                found = {"url": row["url"], "main": main, "shown": page.text}
                out.write(json.dumps(found, ensure_ascii=False) + "\n")


def signals(texts: Sequence[str], addresses: Sequence[str]) -> list[dict[str, Any]]:
    """What rules of recipes read of each text, but for scores."""
    lists = urls.Lists.load([urls.find("adult")])
    measured = [urls.batch(addresses, lists), language.batch(texts, lines=False), quality.batch(texts)]
    return [
        {key: value for row in rows for key, value in row.items()}
        for rows in zip(*(batch.to_pylist() for batch in measured), strict=True)
    ]


def passing(recipe: Recipe, texts: Sequence[str], measured: Sequence[dict[str, Any]]) -> list[int]:
    """Places of the texts that pass all rules of a recipe; scores are asked for where the rules before pass."""
    scorers = {"quality.score": quality_model.score, "toxicity.score": toxicity.score}
    left = list(range(len(texts)))
    for rule in recipe.rules:
        if rule.signal in scorers:
            given = (quality_model.Settings(),) if rule.signal == "quality.score" else (toxicity.Settings(),)
            found = scorers[rule.signal]([texts[place] for place in left], *given)
            for place, score in zip(left, found, strict=True):
                measured[place][rule.signal] = score.score
        left = [place for place in left if rule.passes(measured[place][rule.signal], measured[place]["language"])]
    return left


def unique(places: Sequence[int], texts: Sequence[str]) -> list[int]:
    """Those of `places`, first come first kept, whose text is not that of one kept before, nor nearly so."""
    hashes = {place: minhash.shingle_hashes(texts[place], 5) for place in places}
    holding: dict[int, list[int]] = {}
    kept = []
    for place in places:
        own = hashes[place]
        shared: dict[int, int] = {}
        for value in own.tolist():
            for other in holding.get(value, ()):
                shared[other] = shared.get(other, 0) + 1
        most = max((n / (len(own) + len(hashes[other]) - n) for other, n in shared.items()), default=0.0)
        if most < SIMILARITY and not any(texts[place] == texts[other] for other in shared):
            kept.append(place)
            for value in own.tolist():
                holding.setdefault(value, []).append(place)
    return kept


def rewritten(recipe: Recipe, text: str) -> str:
    """A kept text as the corpus has it."""
    masked = pii.mask(text, pii.find(text), recipe.mask)
    return lines.fineweb_lines(masked) if recipe.remove_lines == "fineweb" else masked


def arms(folder: Path, others: Mapping[str, Path | None]) -> None:
    """``arms/NAME.jsonl``: the texts of every arm, and of the sources that are mixed in."""
    rows = [json.loads(line) for path in sorted(folder.glob("pages-*.jsonl")) for line in path.open(encoding="utf-8")]
    asked = config.load(config.find("benchmarks", "web"), BenchmarkList).benchmarks
    index = contamination.build(benchmarks.read(asked))
    found: dict[str, list[str]] = {}
    for arm, kind in (("raw", "shown"), ("extracted", "main")):
        texts = [row[kind] for row in rows if row[kind].strip()]
        matches = contamination.find(texts, index)
        found[arm] = [text for text, own in zip(texts, matches, strict=True) if not own]
        say(f"{arm}: {len(texts)} pages with text, {len(texts) - len(found[arm])} with items of benchmarks")
    address = {row["main"]: row["url"] for row in rows}
    texts = found["extracted"]
    measured = signals(texts, [address[text] for text in texts])
    fineweb, golden = (config.load_extended("recipes", name, Recipe, joined="rules") for name in ("fineweb", "golden"))
    passed = passing(fineweb, texts, measured)
    found["filtered"] = [rewritten(fineweb, texts[place]) for place in passed]
    found["deduplicated"] = [rewritten(fineweb, texts[place]) for place in unique(passed, texts)]
    passed = sorted(passing(golden, texts, measured), key=lambda place: -measured[place]["quality.score"])
    found["scored"] = [rewritten(golden, texts[place]) for place in unique(passed, texts)]
    for name, place in others.items():
        if place is not None:
            texts = [path.read_text(encoding="utf-8") for path in sorted(place.glob("*.txt"))]
            measured = signals(texts, [""] * len(texts))
            found[name] = [rewritten(golden, texts[at]) for at in unique(passing(golden, texts, measured), texts)]
    (folder / "arms").mkdir(exist_ok=True)
    for name, own in found.items():
        path = folder / "arms" / f"{name}.jsonl"
        path.write_text("".join(json.dumps(text, ensure_ascii=False) + "\n" for text in own), encoding="utf-8")
        say(f"{name}: {len(own)} documents, {sum(map(len, own)):,} characters")


def load(folder: Path) -> dict[str, list[str]]:
    return {
        path.stem: [json.loads(line) for line in path.open(encoding="utf-8")]
        for path in sorted((folder / "arms").glob("*.jsonl"))
    }


def tokenizer_of(texts: Mapping[str, list[str]], size: int) -> Any:
    """Learned from the beginnings of as many characters of every arm."""

    def alike() -> Iterator[str]:
        for name in ARMS[:5]:
            left = TOKENIZER_CHARACTERS
            for at in np.random.default_rng(0).permutation(len(texts[name])).tolist():
                yield texts[name][at][:left]
                left -= len(texts[name][at])
                if left <= 0:
                    break

    return models.train_tokenizer(alike(), size, "chatml")


def drawn(texts: Mapping[str, list[str]], arm: str, seed: int, tokens: int, tokenizer: Any) -> list[str]:
    """Documents of an arm in an order of the seed, up to a number of tokens; of `mixed`, each source to its share."""
    if arm == "mixed":
        parts = [_some(texts[source], seed, int(tokens * share), tokenizer) for source, share in SHARES.items()]
        whole = [text for part in parts for text in part]
        return [whole[at] for at in np.random.default_rng([seed, 1]).permutation(len(whole)).tolist()]
    return _some(texts[arm.removesuffix("-less")], seed, tokens // LESS if arm.endswith("-less") else tokens, tokenizer)


def _some(texts: Sequence[str], seed: int, tokens: int, tokenizer: Any) -> list[str]:
    found, total = [], 0
    for at in np.random.default_rng(seed).permutation(len(texts)).tolist():
        found.append(texts[at])
        total += len(tokenizer(texts[at], add_special_tokens=False)["input_ids"]) + 1
        if total >= tokens:
            break
    return found


def train(texts: list[str], training: Training, steps: int, tokenizer: Any) -> tuple[Any, int]:
    """A model after `steps`, and the tokens of its texts: passes over them follow one another in new orders."""
    blocks = data.Blocks(pa.table({"text": texts}), tokenizer, training.context)
    architecture = training.architecture
    if architecture is None:
        raise SystemExit(f"{training.model}: wanted a training from scratch")
    model = models.build(architecture, tokenizer, training.seed)
    optimizer = models.adamw(model, training.optimizer)
    warmup = max(1, round(training.optimizer.warmup * steps))
    schedule = get_cosine_with_min_lr_schedule_with_warmup(
        optimizer, warmup, steps, min_lr_rate=training.optimizer.final
    )
    for items in data.Steps(len(blocks), training.batch, steps, seed=training.seed, rank=0, world=1):
        ids = torch.tensor([blocks[item]["ids"] for item in items])
        loss = model(input_ids=ids, labels=ids, use_cache=False).loss
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), training.optimizer.clip)
        optimizer.step()
        optimizer.zero_grad()
        schedule.step()
    return model.eval(), len(blocks.stream)


def train_all(folder: Path, options: argparse.Namespace) -> None:
    """``results/ARM-SEED.json`` of every model that has none yet."""
    torch.set_num_threads(1)
    torch.use_deterministic_algorithms(True)
    training = config.load(config.find("align", options.training), Training)
    evaluations = config.load(config.find("evaluations", options.evaluations), EvaluationConfig)
    texts = load(folder)
    tokenizer = tokenizer_of(texts, training.vocab_size or 0)
    given = [Given(rows_of.read(str(benchmark.file))) for benchmark in evaluations.benchmarks]
    (folder / "results").mkdir(exist_ok=True)
    wanted = [(seed, arm) for seed in options.seeds for arm in options.arms]
    for seed, arm in wanted[options.part :: options.parts]:
        path = folder / "results" / f"{arm}-{seed}.json"
        if path.exists():
            continue
        start = time.process_time()
        own = drawn(texts, arm, seed, options.tokens, tokenizer)
        settings = replace(training, seed=seed)
        model, tokens = train(own, settings, options.steps, tokenizer)
        found: dict[str, Any] = {
            "documents": len(own),
            "tokens": tokens,
            "seen": options.steps * settings.batch * settings.context,
            "available": len(texts.get(arm.removesuffix("-less"), own)),
            "weights": sum(weight.numel() for weight in model.parameters()),
            "metrics": {},
        }
        for benchmark, rows in zip(evaluations.benchmarks, given, strict=True):
            for each in evaluate(models.Loaded(model, tokenizer), benchmark, rows).evaluations:
                found["metrics"][f"{benchmark.name} {each.metric}"] = [each.value, each.low, each.high, each.n]
        path.write_text(json.dumps(found), encoding="utf-8")
        bits = ", ".join(f"{value[0]:.3f}" for name, value in found["metrics"].items() if name.endswith("per_byte"))
        say(f"{arm} {seed}: {bits} bits per byte, {time.process_time() - start:.0f} s CPU")


def table(folder: Path, seeds: Sequence[int], chosen: Sequence[str]) -> None:
    """The comparison as ``goldenlake experiment`` shows it."""
    places = {(arm, seed): folder / "results" / f"{arm}-{seed}.json" for arm in chosen for seed in seeds}
    found = {place: json.loads(path.read_text(encoding="utf-8")) for place, path in places.items()}
    rows = []
    for name in found[chosen[0], seeds[0]]["metrics"]:
        benchmark, metric = name.split(" ")
        values = {arm: np.array([found[arm, seed]["metrics"][name][0] for seed in seeds]) for arm in chosen}
        for place, arm in enumerate(chosen):
            before = "scored" if arm == "scored-less" else chosen[max(0, place - 1)]
            rows.append(
                Row(
                    benchmark=benchmark,
                    metric=metric,
                    arm=arm,
                    baseline="raw",
                    **dict(zip(("value", "low", "high"), experiment.mean(values[arm]), strict=True)),
                    **experiment.difference("change", values[arm] - values["raw"]),
                    **experiment.difference("step", values[arm] - values[before]),
                    tokens=float(np.mean([found[arm, seed]["tokens"] for seed in seeds])),
                    seen=float(found[arm, seeds[0]]["seen"]),
                )
            )
    Console(width=200).print(experiment.grid(rows))


def say(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


def main(argv: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("pages", "arms", "train", "table"))
    parser.add_argument("--folder", type=Path, required=True)
    parser.add_argument("--warc", type=Path, nargs="+", default=[])
    parser.add_argument("--books", type=Path, help="plain texts to mix in")
    parser.add_argument("--academic", type=Path, help="plain texts to mix in")
    parser.add_argument("--part", type=int, default=0, help="the part of the work that this process does")
    parser.add_argument("--parts", type=int, default=1)
    parser.add_argument("--training", default="mini-pretrain")
    parser.add_argument("--evaluations", default="web")
    parser.add_argument("--arms", nargs="+", choices=ARMS, default=list(ARMS))
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2, 3])
    parser.add_argument("--steps", type=int, default=200)
    parser.add_argument("--tokens", type=int, default=400_000, help="of the texts of a model, at most")
    options = parser.parse_args(argv)
    if options.what == "pages":
        if not options.warc:
            parser.error("pages are read from archives: name some with --warc")
        options.folder.mkdir(parents=True, exist_ok=True)
        read_pages(options.warc, options.folder, options.part, options.parts)
    elif options.what == "arms":
        arms(options.folder, {"books": options.books, "academic": options.academic})
    elif options.what == "train":
        train_all(options.folder, options)
    else:
        table(options.folder, options.seeds, options.arms)


if __name__ == "__main__":
    main()
