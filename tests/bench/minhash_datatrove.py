"""The other side of `tests.bench.minhash_kernel`: signatures by datatrove, in its own interpreter.

Reads JSON strings, a text a line, from the file that is named first, and prints as JSON the CPU seconds that
datatrove's step for signatures took, as FineWeb uses it: 5 words, 14 bands of 8 values.
"""

import json
import sys
import tempfile
import time

from datatrove.data import Document
from datatrove.pipeline.dedup.minhash import MinhashConfig, MinhashDedupSignature


def main() -> None:
    with open(sys.argv[1], encoding="utf-8") as file:
        documents = [Document(text=json.loads(line), id=str(number)) for number, line in enumerate(file)]
    config = MinhashConfig(n_grams=5, num_buckets=14, hashes_per_bucket=8)
    with tempfile.TemporaryDirectory() as folder:
        step = MinhashDedupSignature(folder, config)
        step.get_shingles("The words of this are not measured.")  # loads the tokenizer
        start = time.process_time()
        step.run(documents)
        seconds = time.process_time() - start
    sys.stdout.write(json.dumps({"documents": len(documents), "seconds": seconds}) + "\n")


if __name__ == "__main__":
    main()
