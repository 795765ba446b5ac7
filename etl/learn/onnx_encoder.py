"""Write a model of embeddings as ONNX, in the folder that Spark NLP imports, for workers that have no PyTorch.

Only models of which Spark NLP gives the same vectors are taken: BERT with a WordPiece vocabulary without capitals,
whose token states are averaged, such as all-MiniLM-L6-v2 (`tests/bench/spark_nlp.py` compares them). The model is the
one that `etl.kernels.embed` runs, and so is its window.
"""

from __future__ import annotations

import argparse
import json
import sys
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from etl import job
from etl.kernels import embed
from etl.models import ModelError
from etl.stages.spark_nlp import ENCODER, ONNX, VOCABULARY

INPUTS = ("input_ids", "attention_mask", "token_type_ids")
OUTPUT = "last_hidden_state"
OPSET = 14  # of ONNX, which the runtime of Spark NLP 5.5 reads


def export(settings: embed.Settings, folder: Path) -> None:
    """Write model, vocabulary and window of `settings` into `folder`, in place of what is there.

    Raises:
        ModelError: the model is missing, or is none of which Spark NLP gives the same vectors.
    """
    try:
        import onnx  # noqa: F401  PyTorch writes by it
        import torch
    except ImportError as error:
        raise ModelError(
            f"ONNX needs the extras embed and nlp: {error}; pip install 'goldenlake[embed,nlp]'"
        ) from error
    encoder = embed._encoder(settings)  # what the kernel itself runs, read and checked
    _require_alike(settings, encoder)
    model = encoder.model.cpu()
    # Of the two attentions the eager one alone is made of operators that ONNX has.
    model.set_attn_implementation("eager")

    class States(torch.nn.Module):  # type: ignore[misc, name-defined, unused-ignore]
        """The states of tokens alone, of all that the model returns."""

        def __init__(self) -> None:
            super().__init__()
            self.model = model

        def forward(self, ids: Any, mask: Any, types: Any) -> Any:
            return self.model(input_ids=ids, attention_mask=mask, token_type_ids=types).last_hidden_state

    folder.mkdir(parents=True, exist_ok=True)
    (folder / VOCABULARY).parent.mkdir(exist_ok=True)
    batch = encoder.tokenizer(["two words", "one"], padding=True, return_tensors="pt")
    axes = {0: "batch", 1: "tokens"}
    with warnings.catch_warnings(), torch.no_grad():
        # The exporter warns of what it does by design: it traces, and is the older one of two.
        warnings.simplefilter("ignore")
        torch.onnx.export(
            States(),
            tuple(batch[name] for name in INPUTS),
            str(folder / ONNX),
            input_names=list(INPUTS),
            output_names=[OUTPUT],
            dynamic_axes={name: axes for name in (*INPUTS, OUTPUT)},
            opset_version=OPSET,
            dynamo=False,
        )
    vocabulary = sorted(encoder.tokenizer.get_vocab().items(), key=lambda item: item[1])
    (folder / VOCABULARY).write_text("".join(f"{piece}\n" for piece, _ in vocabulary), encoding="utf-8")
    said = {"model": embed.name(settings), "max_tokens": encoder.max_tokens}
    (folder / ENCODER).write_text(json.dumps(said) + "\n", encoding="utf-8")


def _require_alike(settings: embed.Settings, encoder: Any) -> None:
    """Raise with every reason for which Spark NLP would give other vectors."""
    normalizer = json.loads(encoder.tokenizer.backend_tokenizer.to_str()).get("normalizer") or {}
    kind = encoder.model.config.model_type
    found = [
        (kind == "bert", f"is of type {kind}, wanted bert"),
        (encoder.poolings == ("mean",), f"pools by {', '.join(encoder.poolings)}, wanted mean"),
        (not encoder.dense, "has dense layers after its pooling"),
        (not encoder.prefix, f"wants {encoder.prefix!r} before every text"),
        (settings.windows == 1, f"is asked for {settings.windows} windows, wanted 1"),
        (settings.precision == "float32", f"is asked for in {settings.precision}, wanted float32"),
        (normalizer.get("lowercase") is True, "has a vocabulary with capitals"),
    ]
    reasons = [reason for is_alike, reason in found if not is_alike]
    if reasons:
        raise ModelError(
            f"{settings.model} cannot be run by Spark NLP with the same vectors: it {'; it '.join(reasons)}"
        )


def main(doc: str | None, argv: Sequence[str] | None = None) -> None:
    """The command line of ``jobs/export_encoder.py``."""
    parser = job.described(doc)
    _add_options(parser)
    options = parser.parse_args(argv)
    with job.reported_errors():
        settings = embed.Settings(options.model, options.max_tokens)
        export(settings, Path(options.output))
        sys.stdout.write(f"{embed.name(settings)} as ONNX in {options.output}\n")


def _add_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--output", required=True, metavar="FOLDER", help="where to write the model")
    parser.add_argument("--model", default=embed.PACKAGED, help=f"a folder, or an id on the hub ({embed.PACKAGED})")
    parser.add_argument("--max-tokens", type=int, help="length of a window (the model's own)")
