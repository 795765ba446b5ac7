"""The language a text is written in, by a fastText model: lid.176, or any other by its path.

The packaged model (Joulin et al. 2017) knows 176 languages; its card is in `etl/models`. Another model is named by the
path of its file, such as GlotLID (Kargaran et al. 2023), whose codes are ``deu_Latn``. A model is loaded once per
process; the same text gets the same answer in every process.
"""

import difflib
import functools
import tempfile
from collections.abc import Iterable, Sequence
from pathlib import Path

import fasttext
import pyarrow as pa

from etl import models
from etl.kernels import fasttext_file
from etl.kernels.fasttext_file import LABEL

MODEL = "lid.176.ftz"
NONE = "none"

MAX_CHARACTERS = 20_000
"""Characters of a text that are looked at, from its start.

The model averages over all words, so more text changes little, and time grows with it, 0.12 µs a character: on
2,186 web pages of up to 640,000 characters no decision "English, score at least 0.65"
differed from that on the whole page (3 did at 10,000 characters, 9 at 5,000).
"""

SAMPLES, SAMPLE_CHARACTERS = 4, 500
"""What `detect` asks of first when it may stop where it is `sure`.

On 1,187 web pages of 9,600 characters on average, sure at 0.9: three times as many a second, and not one decision at a
threshold of 0.5, 0.65 or 0.8 is another. Of samples alone eight are at 0.65; a threshold above `sure` has no use.
"""

MIN_LINE_CHARACTERS, MIN_LINE_WORDS = 40, 8
LINE_CHARACTERS = 200  # of a line, how many are looked at: a sentence or two
MIN_LINE_SCORE = 0.8  # below it a line is not counted as of another language

SCHEMA = pa.schema(
    [
        pa.field("language", pa.string()),
        pa.field("language_score", pa.float64()),
        pa.field("second_language", pa.string()),
        pa.field("second_language_score", pa.float64()),
        pa.field("other_line_ratio", pa.float64()),
        pa.field("other_line_language", pa.string()),
    ]
)


def detect(
    texts: Sequence[str], *, model: str = MODEL, sure: float | None = None
) -> list[tuple[str | None, float | None]]:
    """Per text: the most probable language and its probability, 0 to 1.

    The language is named as the model names it, for lid.176: ISO 639-1 where there is a code, else 639-3, and some
    Wikipedia editions such as "als". A newline is a space, as in training. A text without a letter among the
    characters looked at has no language: (None, None).

    Args:
        sure: where four samples of the text give a language at least so probable, that is the answer, and the rest is
            not looked at. Meant for decisions at a threshold below `sure`.

    Raises:
        ModelError: the model is missing or damaged, or is no model of languages.
    """
    answers: list[tuple[str | None, float | None]] = [(None, None)] * len(texts)
    heads = [text[:MAX_CHARACTERS] for text in texts]
    asked = [index for index, head in enumerate(heads) if _has_letter(head)]
    if sure is not None:
        longer = [index for index in asked if len(heads[index]) > SAMPLES * SAMPLE_CHARACTERS]
        for index, found in zip(longer, _best([_sample(heads[index]) for index in longer], model), strict=True):
            answers[index] = found
        asked = [index for index in asked if (answers[index][1] or 0.0) < sure]
    for index, found in zip(asked, _best([heads[index] for index in asked], model), strict=True):
        answers[index] = found
    return answers


def batch(texts: pa.Array | Sequence[str], *, model: str = MODEL, lines: bool = True) -> pa.RecordBatch:
    """One row of `SCHEMA` per text: the most probable language, the next, and lines in others.

    `other_line_ratio` is the share of a text's characters, among those looked at, that are in lines of at least 40
    characters or 8 words whose language is another at a probability of 0.8 or more; `other_line_language` is the one
    with most characters, or none. Both are null without `lines`, which doubles the time.

    Raises:
        ModelError: the model is missing or damaged, or is no model of languages.
    """
    given = texts.to_pylist() if isinstance(texts, pa.Array) else list(texts)
    heads = [text[:MAX_CHARACTERS] for text in given]
    asked = [index for index, head in enumerate(heads) if _has_letter(head)]
    rows: list[list[str | float | None]] = [[None] * 4 for _ in heads]
    for index, found in zip(asked, _ask([heads[index] for index in asked], model, 2), strict=True):
        rows[index] = [*found[0], *(found[1] if len(found) > 1 else (None, None))]
    names = [row[0] for row in rows]
    others = _other_lines(heads, names, model) if lines else [(None, None)] * len(heads)
    whole = [(*row, *other) for row, other in zip(rows, others, strict=True)]
    columns = [pa.array([row[at] for row in whole], field.type) for at, field in enumerate(SCHEMA)]
    return pa.RecordBatch.from_arrays(columns, schema=SCHEMA)


def languages(model: str = MODEL) -> tuple[str, ...]:
    """The codes that `model` answers with, sorted.

    Raises:
        ModelError: the model is missing or damaged, or is no model of languages.
    """
    return tuple(sorted(label.removeprefix(LABEL) for label in _model(model).get_labels()))


def unknown(codes: Iterable[str], model: str = MODEL) -> list[str]:
    """What is wrong with `codes`: one message for each that `model` does not know, with the nearest that it knows.

    Raises:
        ModelError: the model is missing or damaged, or is no model of languages.
    """
    known = languages(model)
    problems = []
    for code in codes:
        if code not in known:
            # Codes of two and of three letters mostly begin alike: deu is de, and deu_Latn in another model.
            alike = [name for name in known if code.startswith(name) or name.startswith(code)]
            near = sorted(alike, key=len, reverse=True) or difflib.get_close_matches(code, known, n=1)
            hint = (
                f", did you mean {near[0]!r}?" if near else f"; it knows {len(known)}, such as {', '.join(known[:5])}"
            )
            problems.append(f"{code!r} is no language that {Path(model).name} knows{hint}")
    return problems


def digest(model: str = MODEL) -> str:
    """SHA-256 of the file of `model`: what decides its answers.

    Raises:
        ModelError: the model is missing.
    """
    if model in models.SHA256:
        return models.SHA256[model]
    return models.sha256(_path(model))


def _has_letter(text: str) -> bool:
    return any(map(str.isalpha, text))


def _sample(head: str) -> str:
    """Parts of a text, evenly spread over it."""
    step = (len(head) - SAMPLE_CHARACTERS) // (SAMPLES - 1)
    return " ".join(head[at : at + SAMPLE_CHARACTERS] for at in range(0, SAMPLES * step, step))


def _best(texts: Sequence[str], model: str) -> list[tuple[str | None, float | None]]:
    return [(name, score) for ((name, score),) in _ask(texts, model, 1)]


def _ask(texts: Sequence[str], model: str, count: int) -> list[list[tuple[str, float]]]:
    """Per text the `count` most probable languages, or all there are, with their probabilities."""
    if not texts:
        return []
    # The form for lists: that for one string fails in some releases with NumPy 2. It wants no newline, and no lone
    # surrogate, which has no UTF-8.
    labels, scores = _model(model).predict(
        [text.encode(errors="replace").decode().replace("\n", " ") for text in texts], k=count
    )
    return [
        # Sums of float32 can pass 1 by a little.
        [(name.removeprefix(LABEL), min(max(float(score), 0.0), 1.0)) for name, score in zip(*found, strict=True)]
        for found in zip(labels, scores, strict=True)
    ]


def _other_lines(
    heads: Sequence[str], names: Sequence[str | float | None], model: str
) -> list[tuple[float | None, str | None]]:
    """Per text: share of characters in lines of another language, and the one that has most of them."""
    measured = [
        [line for line in head.split("\n") if _is_long(line)] if name is not None else []
        for head, name in zip(heads, names, strict=True)
    ]
    # Lines repeat, within a site most of all.
    starts = list(dict.fromkeys(line[:LINE_CHARACTERS] for lines in measured for line in lines))
    asked = [start for start in starts if _has_letter(start)]
    language_of = dict(zip(asked, (found[0] for found in _ask(asked, model, 1)), strict=True))
    shares: list[tuple[float | None, str | None]] = []
    for head, name, lines in zip(heads, names, measured, strict=True):
        characters: dict[str, int] = {}
        for line in lines:
            other, score = language_of.get(line[:LINE_CHARACTERS], (name, 0.0))
            if other != name and score >= MIN_LINE_SCORE:
                characters[str(other)] = characters.get(str(other), 0) + len(line)
        # Of two with as many characters the first by name, so that the answer has one reason.
        most = min(characters, key=lambda language: (-characters[language], language), default=NONE)
        total = len(head) - head.count("\n")
        shares.append((sum(characters.values()) / total if characters else 0.0, most))
    return shares


def _is_long(line: str) -> bool:
    return len(line) >= MIN_LINE_CHARACTERS or (
        line.count(" ") >= MIN_LINE_WORDS - 1 and len(line.split()) >= MIN_LINE_WORDS
    )


@functools.lru_cache(maxsize=4)
def _model(model: str) -> fasttext.FastText._FastText:
    if model in models.SHA256:
        content = models.read(model)
        # fastText reads files only, and the package may be inside an archive.
        with tempfile.NamedTemporaryFile(suffix=model) as file:
            file.write(content)
            file.flush()
            return _load(Path(file.name), model)
    path = _path(model)
    fasttext_file.check_start(path, model)
    return _load(path, model)


def _path(model: str) -> Path:
    path = Path(model)
    if not path.is_file():
        packaged = ", ".join(name for name in models.SHA256 if name.startswith("lid."))
        raise models.ModelError(
            f"there is no language model {model!r}: wanted {packaged} or the path of a fastText model"
        )
    return path


def _load(path: Path, model: str) -> fasttext.FastText._FastText:
    loaded, labels = fasttext_file.load(path, model)
    if not labels:
        raise models.ModelError(f"{model} has no labels: wanted a model that was trained to name languages")
    _check_size(loaded, path, model)
    return loaded


def _check_size(loaded: fasttext.FastText._FastText, path: Path, model: str) -> None:
    """fastText reads past the end of a file that was cut off, and answers with whatever is in memory there."""
    if loaded.is_quantized():
        return  # how long such a file must be, only its reader knows
    rows = len(loaded.get_words()) + loaded.f.getArgs().bucket + len(loaded.get_labels())
    wanted, found = 4 * rows * loaded.get_dimension(), path.stat().st_size
    if found < wanted:
        raise models.ModelError(f"{model} is cut off: it has {found} bytes, its vectors alone are {wanted}")
