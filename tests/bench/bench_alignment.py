"""What SFT and DPO do to held-out answers and pairs, over seeds, beside an arm of equal compute.

    python tests/bench/bench_alignment.py --warehouse demo-lake [--seeds 3]

The lake is one of `goldenlake demo --align`. For each seed: pretrain, SFT, DPO, and from the same SFT model a second
round of SFT of as much computing as DPO takes, which is what DPO has to beat. Models go to a folder of their own and no
table is written. Prints, for each measure, its mean over seeds with a 95 % interval (Student's t over the seeds), the
same for the change from parent to child, and the time of training.
"""

from __future__ import annotations

import argparse
import dataclasses
import statistics
import sys
import tempfile
from pathlib import Path
from typing import Any

from deltalake import DeltaTable
from rich.console import Console
from rich.table import Table as Grid

from etl import config
from etl.align import job as jobs
from etl.align import launch, models
from etl.align.config import Training
from etl.align.job import MODEL, RESULT, Job
from etl.evaluate import Benchmark, Given, data, evaluate
from etl.kernels import intervals

TASKS = {"held_out_text": ("bits_per_byte", "pretrain"), "held_out_answers": ("held_out_answers", "sft"),
         "held_out_pairs": ("held_out_pairs", "preference")}  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--warehouse", type=Path, required=True)
    parser.add_argument("--seeds", type=int, default=3)
    options = parser.parse_args()
    benchmarks = [(Benchmark(name, task, training_set=f"{of}.held_out"), rows(options.warehouse, task, of))
                  for name, (task, of) in TASKS.items()]  # fmt: skip
    found: dict[str, dict[str, list[float]]] = {}
    for seed in range(1, options.seeds + 1):
        with tempfile.TemporaryDirectory() as folder:
            for name, (place, seconds) in arms(options.warehouse, Path(folder), seed).items():
                loaded = models.load(str(place))
                values = {"seconds": seconds}
                for benchmark, given in benchmarks:
                    result = evaluate(loaded, benchmark, given, batch_tokens=4096)
                    values |= {each.metric: each.value for each in result.evaluations}
                for metric, value in values.items():
                    found.setdefault(name, {}).setdefault(metric, []).append(value)
                sys.stderr.write(f"seed {seed} {name}: {values}\n")
    show(found)


def rows(warehouse: Path, task: str, of: str) -> Given:
    """The held-out rows of a set, from the newest version of its table."""
    kind = {"pretrain": "documents", "sft": "examples", "preference": "pairs"}[of]
    table = DeltaTable(str(warehouse / f"training_{kind}"))
    filters = [("training_set", "=", f"{of}.held_out")]
    read = table.to_pyarrow_table(filters=filters).sort_by("position").to_pylist()
    return Given(data.Data(f"{of}.held_out", "", read), None)


def arms(warehouse: Path, folder: Path, seed: int) -> dict[str, tuple[Path, float]]:
    """Model folder and seconds of each arm."""
    made: dict[str, tuple[Path, float]] = {}

    def train(name: str, training: Training, parent: str | None) -> int:
        place = folder / name
        place.mkdir()
        table = warehouse / f"training_{training.kind}"
        settled = dataclasses.replace(training, seed=seed)
        jobs.write(place, Job(settled, str(table), DeltaTable(str(table)).version(), "", 1, parent))
        launch.run(launch.read("cpu"), place, lambda line: None)
        result = config.read_yaml(place / RESULT)
        made[name] = (place / MODEL, result["seconds"])
        return int(result["steps"])

    names = ("pretrain", "sft", "dpo")
    pretrain, sft, dpo = (config.load(config.find("align", f"tiny-{name}"), Training) for name in names)
    train("pretrain", pretrain, None)
    train("SFT", sft, str(made["pretrain"][0]))
    steps = train("DPO", dpo, str(made["SFT"][0]))
    # A pair is two answers, each read forward and back (three times the work of forward) and forward for the reference.
    equal = round(steps * dpo.batch * 2 * 4 / (sft.batch * 3))
    again = dataclasses.replace(sft, epochs=99.0, max_steps=equal, optimizer=dpo.optimizer)
    train("SFT again", again, str(made["SFT"][0]))
    return made


PARENTS = {"SFT": "pretrain", "DPO": "SFT", "SFT again": "SFT"}


def show(found: dict[str, dict[str, list[float]]]) -> None:
    drawn = Grid(box=None)
    for column in ("arm", "measure", "mean", "95 % interval", "change from parent", "95 % interval"):
        drawn.add_column(column, justify="left" if column in ("arm", "measure") else "right")
    for arm, metrics in found.items():
        for metric, values in metrics.items():
            changes: list[Any] = ["", ""]
            if arm in PARENTS and metric != "seconds":
                before = found[PARENTS[arm]][metric]
                changes = list(interval([after - old for after, old in zip(values, before, strict=True)]))
            drawn.add_row(arm, metric, *interval(values), *changes)
    Console().print(drawn)


def interval(values: list[float]) -> tuple[str, str]:
    """The mean, and Student's interval of it over the seeds."""
    mean = statistics.fmean(values)
    if len(values) < 2:
        return f"{mean:.4g}", "-"
    half = intervals.student(len(values) - 1) * statistics.stdev(values) / len(values) ** 0.5
    return f"{mean:.4g}", f"{mean - half:.4g} to {mean + half:.4g}"


if __name__ == "__main__":
    main()
