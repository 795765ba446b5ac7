"""How fast archives are read, beside warcio and bare FastWARC, in one process on the same files.

    python tests/bench/bench_warc.py ARCHIVE.warc.gz ... [--warcio DIRECTORY] [--repeat 3]

warcio is not a dependency: ``pip install --target DIRECTORY warcio`` puts it into a directory
of its own. Without --warcio its rows are left out. Seconds are of the CPU, the best of `--repeat` runs.
"""

import argparse
import importlib
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
from fastwarc.warc import ArchiveIterator

from etl.kernels import warc

Count = tuple[int, int]  # records, bytes of their payloads


def goldenlake_rows(path: Path) -> Count:
    """What ingest does: rows with digest, sniffed type, host, and the payload as a Zstandard frame."""
    return _count(path, keep_payload=True)


def goldenlake_without_payload(path: Path) -> Count:
    return _count(path, keep_payload=False)


def _count(path: Path, *, keep_payload: bool) -> Count:
    records = payload_bytes = 0
    with path.open("rb") as stream:
        for batch in warc.record_batches(stream, warc_filename=path.name, crawl="bench", keep_payload=keep_payload):
            records += batch.num_rows
            payload_bytes += pa.compute.sum(batch.column("payload_length")).as_py() or 0
    return records, payload_bytes


def fastwarc_bodies(path: Path) -> Count:
    """FastWARC alone: HTTP heads parsed, bodies read, nothing decoded or kept."""
    records = payload_bytes = 0
    for record in ArchiveIterator(str(path), parse_http=True):
        records += 1
        payload_bytes += len(record.reader.read())
    return records, payload_bytes


def fastwarc_bodies_as_zstandard(path: Path) -> Count:
    codec = pa.Codec("zstd", compression_level=warc.ZSTD_LEVEL)
    records = payload_bytes = 0
    for record in ArchiveIterator(str(path), parse_http=True):
        body = record.reader.read()
        codec.compress(body)
        records += 1
        payload_bytes += len(body)
    return records, payload_bytes


def warcio_bodies(path: Path) -> Count:
    """warcio alone: bodies read, with their encodings undone, and nothing kept."""
    iterate = importlib.import_module("warcio.archiveiterator").ArchiveIterator
    records = payload_bytes = 0
    with path.open("rb") as stream:
        for record in iterate(stream):
            records += 1
            payload_bytes += len(record.content_stream().read())
    return records, payload_bytes


def measure(readers: list[Callable[[Path], Count]], paths: list[Path], repeat: int) -> dict[str, tuple[float, Count]]:
    """The least CPU seconds of each reader over all paths. Turns alternate, so a busy machine slows all alike."""
    results: dict[str, tuple[float, Count]] = {}
    for _ in range(repeat):
        for read in readers:
            start = time.process_time()
            counts = [read(path) for path in paths]
            seconds = time.process_time() - start
            total = sum(records for records, _ in counts), sum(size for _, size in counts)
            results[read.__name__] = min(results.get(read.__name__, (seconds, total)), (seconds, total))
    return results


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("archives", nargs="+", type=Path, metavar="ARCHIVE")
    parser.add_argument("--warcio", metavar="DIRECTORY", help="where warcio is installed")
    parser.add_argument("--repeat", type=int, default=3)
    arguments = parser.parse_args()
    readers: list[Callable[[Path], Count]] = [
        goldenlake_rows,
        goldenlake_without_payload,
        fastwarc_bodies_as_zstandard,
        fastwarc_bodies,
    ]
    if arguments.warcio:
        sys.path.append(arguments.warcio)
        readers.append(warcio_bodies)
    stored = sum(path.stat().st_size for path in arguments.archives) / 1e6
    results = measure(readers, arguments.archives, arguments.repeat)
    own = results["goldenlake_rows"][0]
    lines = [
        f"{'reader':30} {'records':>8} {'seconds':>8} {'MB/s stored':>12} {'MB/s payload':>13} {'time / ours':>12}"
    ]
    for name, (seconds, (records, payload_bytes)) in results.items():
        rates = f"{stored / seconds:12.1f} {payload_bytes / 1e6 / seconds:13.1f} {seconds / own:12.2f}"
        lines.append(f"{name:30} {records:8} {seconds:8.3f} {rates}")
    sys.stdout.write("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
