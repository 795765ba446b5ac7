r"""Write a model of embeddings as ONNX, for Spark NLP in the JVM.

Usage:
    python jobs/export_encoder.py --output models/all-MiniLM-L6-v2-onnx
"""

from collections.abc import Sequence

from etl.learn import onnx_encoder


def main(argv: Sequence[str] | None = None) -> None:
    onnx_encoder.main(__doc__, argv)


if __name__ == "__main__":
    main()
