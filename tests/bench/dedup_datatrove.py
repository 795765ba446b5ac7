"""The other side of `tests.bench.dedup speed`: the four steps of datatrove's MinHash, in its own interpreter.

Reads the JSON lines that are named first, and prints as JSON the CPU seconds of all steps together, as FineWeb uses
them (5 words, 14 bands of 8 values), and the number of documents that are left.
"""

import json
import resource
import sys
import tempfile

from datatrove.executor import LocalPipelineExecutor
from datatrove.pipeline.dedup.minhash import (
    MinhashConfig,
    MinhashDedupBuckets,
    MinhashDedupCluster,
    MinhashDedupFilter,
    MinhashDedupSignature,
)
from datatrove.pipeline.readers import JsonlReader
from datatrove.pipeline.writers import JsonlWriter


def cpu_seconds() -> float:
    usages = map(resource.getrusage, (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return sum(usage.ru_utime + usage.ru_stime for usage in usages)


def main() -> None:
    source, name = sys.argv[1].rsplit("/", 1)
    config = MinhashConfig(n_grams=5, num_buckets=14, hashes_per_bucket=8)
    with open(sys.argv[1], encoding="utf-8") as file:
        documents = sum(1 for _ in file)
    with tempfile.TemporaryDirectory() as folder:

        def reader() -> JsonlReader:
            return JsonlReader(source, glob_pattern=name)

        sigs, buckets, remove, out = (f"{folder}/{part}" for part in ("sigs", "buckets", "remove", "out"))
        steps = (
            [reader(), MinhashDedupSignature(sigs, config=config)],
            [MinhashDedupBuckets(sigs, buckets, config=config)],
            [MinhashDedupCluster(buckets, remove, config=config)],
            [reader(), MinhashDedupFilter(remove), JsonlWriter(out, compression=None)],
        )
        start = cpu_seconds()
        for number, step in enumerate(steps):
            tasks = config.num_buckets if number == 1 else 1
            LocalPipelineExecutor(step, tasks=tasks, logging_dir=f"{folder}/log{number}").run()
        seconds = cpu_seconds() - start
        with open(f"{out}/00000.jsonl", encoding="utf-8") as file:
            kept = sum(1 for _ in file)
    sys.stdout.write(json.dumps({"documents": documents, "seconds": seconds, "kept": kept}) + "\n")


if __name__ == "__main__":
    main()
