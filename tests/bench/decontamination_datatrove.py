"""What datatrove's n-gram decontamination decides: the other side of `tests.bench.decontamination`.

Run by an interpreter that has datatrove, which pins other packages than this project:

    DATATROVE_PYTHON tests/bench/decontamination_datatrove.py < request.json > answer.json

The request has `items`, pairs of a question and its answers; `texts` and `timed`, paths of files with one JSON string a
line. The answer has, with the default settings and with n-grams of questions too, whether each text is dropped, and the
CPU seconds that the second took for the texts of `timed`.
"""

from __future__ import annotations

import json
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from datatrove.data import Document
from datatrove.pipeline.decont.n_grams import NGramsDecontConfig, NGramsDecontFilter, NGramsDecontIndexer
from datatrove.utils.logging import logger


def filter_for(items: list[tuple[str, list[str]]], config: NGramsDecontConfig, folder: str) -> NGramsDecontFilter:
    """The filter with the hashes that the indexer makes; its own `run` would download the tasks."""
    NGramsDecontIndexer._requires_dependencies = []
    indexer = NGramsDecontIndexer(folder, config=config)
    hashes = {found for query, labels in items for label in labels for found in indexer.compute_hashes(label, query)}
    array = np.array(sorted(hashes), dtype=config.hash_config.np_descr)
    array.tofile(Path(folder) / "items.index.hashes")
    return NGramsDecontFilter(folder, config=config)


def read(path: str) -> list[str]:
    return [json.loads(line) for line in Path(path).read_text(encoding="utf-8").splitlines()]


def dropped(step: NGramsDecontFilter, texts: list[str]) -> list[bool]:
    return [step.filter(Document(text=text, id=str(place))) is not True for place, text in enumerate(texts)]


def main() -> None:
    logger.remove()
    request = json.load(sys.stdin)
    texts, timed = read(request["texts"]), read(request["timed"])
    answer = {}
    for name, with_questions in (("default", False), ("questions", True)):
        with tempfile.TemporaryDirectory() as folder:
            step = filter_for(request["items"], NGramsDecontConfig(find_query_ngrams=with_questions), folder)
            answer[name] = dropped(step, texts)
            if with_questions:
                start = time.process_time()
                answer["clean"] = dropped(step, timed)
                answer["seconds"] = time.process_time() - start
    json.dump(answer, sys.stdout)


if __name__ == "__main__":
    main()
