"""The language a text is written in, by fastText's lid.176.

The model (Joulin et al. 2017) knows 176 languages. Its card is in `etl/models`. It is
loaded once per process; the same text gets the same answer in every process.
"""

import functools
import tempfile
from collections.abc import Sequence

import fasttext

from etl import models

MODEL = "lid.176.ftz"

MAX_CHARACTERS = 20_000
"""Characters of a text that are looked at, from its start.

The model averages over all words, so more text changes little, and time grows with it: on
2,186 web pages of up to 640,000 characters no decision "English, score at least 0.65"
differed from that on the whole page (3 did at 10,000 characters, 9 at 5,000).
"""


def detect(texts: Sequence[str]) -> list[tuple[str | None, float | None]]:
    """Per text: the most probable language and its probability, 0 to 1.

    The language is named as the model names it: ISO 639-1 where there is a code, else
    639-3, and some Wikipedia editions such as "als" or "simple". A newline is a space, as
    in training. A text without a letter among the characters looked at has no language:
    (None, None).

    Raises:
        ModelError: the packaged model is missing or damaged.
    """
    answers: list[tuple[str | None, float | None]] = [(None, None)] * len(texts)
    heads = [text[:MAX_CHARACTERS] for text in texts]
    asked = [index for index, head in enumerate(heads) if any(map(str.isalpha, head))]
    if asked:
        # The form for lists: that for one string fails in some releases with NumPy 2. It wants no
        # newline, and no lone surrogate, which has no UTF-8.
        labels, scores = _model().predict(
            [heads[index].encode(errors="replace").decode().replace("\n", " ") for index in asked]
        )
        for index, (label, *_), (score, *_) in zip(asked, labels, scores, strict=True):
            # Sums of float32 can pass 1 by a little.
            answers[index] = label.removeprefix("__label__"), min(max(float(score), 0.0), 1.0)
    return answers


@functools.cache
def _model() -> fasttext.FastText._FastText:
    content = models.read(MODEL)
    # fastText reads files only, and the package may be inside an archive. The class is what
    # fasttext.load_model returns, after a warning on standard error in some releases.
    with tempfile.NamedTemporaryFile(suffix=MODEL) as file:
        file.write(content)
        file.flush()
        return fasttext.FastText._FastText(model_path=file.name)
