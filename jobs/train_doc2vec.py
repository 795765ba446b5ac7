r"""Train Doc2Vec within the JVM, by Spark NLP, on the documents of a lake.

Usage:
    ./run --spark 3.5 python jobs/train_doc2vec.py --warehouse DIR --output models/doc2vec --where "crawl = 'x'"
"""

from collections.abc import Sequence

from etl.learn import doc2vec


def main(argv: Sequence[str] | None = None) -> None:
    doc2vec.main(__doc__, argv)


if __name__ == "__main__":
    main()
