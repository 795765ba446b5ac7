r"""Sentences and embeddings of a lake's documents within the JVM, by Spark NLP.

Usage:
    ./run --spark 3.5 python jobs/annotate_in_jvm.py --warehouse DIR --sentences --embeddings models/doc2vec
"""

from collections.abc import Sequence

from etl import jvm


def main(argv: Sequence[str] | None = None) -> None:
    jvm.main(__doc__, argv)


if __name__ == "__main__":
    main()
