"""The filters of FineWeb as datatrove runs them, on WARC files; one JSON line a page, then one of the time.

    DATATROVE_PYTHON tests/bench/datatrove_fineweb.py --warc W --lid lid.176.ftz [--language en]

For `tests.bench.frontend`, which gives it an interpreter of its own, as datatrove pins other packages:

    python -m venv datatrove-env
    datatrove-env/bin/pip install "datatrove[processing]" spacy warcio \
        faust-cchardet python-magic lxml_html_clean

The steps and their parameters are those of datatrove's ``examples/fineweb.py`` up to the filters; lid.176.ftz stands
for lid.176.bin, of which it is the compressed form. Seconds are CPU time of this process and of the one in which
datatrove extracts, without imports and models.
"""

from __future__ import annotations

import argparse
import json
import resource
import sys
import time
from pathlib import Path
from typing import Any


def cpu_seconds() -> float:
    """Of this process and of its children that have ended."""
    return sum(
        usage.ru_utime + usage.ru_stime
        for usage in map(resource.getrusage, (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--warc", type=Path, required=True)
    parser.add_argument("--lid", type=Path, required=True)
    parser.add_argument("--language", help="the only one that is wanted")
    parser.add_argument("--limit", type=int, default=-1)
    options = parser.parse_args()

    from datatrove.pipeline.extractors import Trafilatura
    from datatrove.pipeline.filters import (
        C4QualityFilter,
        FineWebQualityFilter,
        GopherQualityFilter,
        GopherRepetitionFilter,
        LanguageFilter,
        URLFilter,
    )
    from datatrove.pipeline.readers import WarcReader
    from datatrove.utils import lid

    lid.FT176LID.MODEL_URL = str(options.lid.resolve())
    steps: list[Any] = [
        URLFilter(),
        Trafilatura(favour_precision=True),
        LanguageFilter(languages=options.language),
        GopherRepetitionFilter(),
        GopherQualityFilter(),
        C4QualityFilter(filter_no_terminal_punct=False),
        FineWebQualityFilter(),
    ]
    # Once through everything, so that what is loaded at first use is not counted.
    from datatrove.data import Document

    warm = Document(text="<p>" + "The words of this page are not many, but they are there. " * 30, id="0")
    warm.metadata["url"] = "https://example.org/"
    run([iter([warm])], steps)
    began, cpu = time.perf_counter(), cpu_seconds()
    reader = WarcReader(str(options.warc.parent), glob_pattern=options.warc.name, limit=options.limit)
    read = run([reader.run()], steps)
    seconds, cpu = time.perf_counter() - began, cpu_seconds() - cpu
    json.dump({"read": read, "seconds": seconds, "cpu_seconds": cpu}, sys.stdout)


def run(source: list[Any], steps: list[Any]) -> int:
    """Pages read; a line for each page that has text, and a line for each that is kept."""
    count = 0

    def counted(documents: Any) -> Any:
        nonlocal count
        for document in documents:
            count += 1
            yield document

    def noted(documents: Any, event: str) -> Any:
        for document in documents:
            line = {"url": document.metadata["url"], "event": event}
            sys.stdout.write(json.dumps(line | ({"text": document.text} if event == "text" else {})) + "\n")
            yield document

    stream = counted(source[0])
    for step in steps:
        stream = step.run(stream)
        if isinstance(step, type(steps[1])):
            stream = noted(stream, "text")
    for _document in noted(stream, "kept"):
        pass
    return count


if __name__ == "__main__":
    main()
