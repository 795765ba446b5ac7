"""Texts as they were meant: mojibake undone, control characters gone, one Unicode form if asked for.

Mojibake is text that was decoded as another encoding than it was written in, once or more often:
``schÃ¶n`` for ``schön``. It is undone line by line with ftfy, and nothing else of ftfy is used: curly
quotes, ligatures, full-width letters and HTML entities stay as the author wrote them.

Few texts need anything: those in ASCII cost a search, the others one more by ftfy's own measure of
what looks wrong, so that only lines that do are paid for.
"""

import re
import unicodedata
from collections.abc import Sequence
from typing import Literal, cast

import ftfy
from ftfy.badness import BADNESS_RE

FORMS = ("NFC", "NFKC")

# Control characters but tab and line breaks, the byte order mark, what Unicode deprecates, annotation
# marks and surrogates without a partner. What joins or separates letters and emoji stays.
_REMOVED = re.compile("[\x00-\x08\x0b\x0e-\x1f\x7f-\x84\x86-\x9f\u206a-\u206f\ufeff\ufff9-\ufffb\ud800-\udfff]")
# Dashes and quotes of which an encoding of one byte kept the lower half: "the world\x19s" was U+2019.
_HALVED = re.compile("[\x13\x14]|(?<=[^\x00-\x20])[\x18\x19\x1c\x1d]|[\x18\x19\x1c\x1d](?=[^\x00-\x20])")
# Without one of these, nothing looks wrong to ftfy: two characters of the alphabets and signs that old
# encodings of one byte had, or one of the few that are suspect alone. Much cheaper than its own search.
_SUSPECT = re.compile(
    "[\x80-\x9f\xc2\xc3\u0152\u0153\ud800-\udfff]|[\x80-\u04ff\u2000-\u25ff\ufb01\ufb02\ufffd][\x80-\u04ff\u2000-\u25ff\ufb01\ufb02\ufffd]"
)
# Windows-1252 that was read as Latin-1, for instance, and characters that were cut in two.
_ALWAYS_WRONG = re.compile("[\x80-\x9f\ud800-\udfff]")

_MOJIBAKE = ftfy.TextFixerConfig(
    unescape_html=False,
    remove_terminal_escapes=False,
    fix_encoding=True,
    restore_byte_a0=True,
    replace_lossy_sequences=True,
    decode_inconsistent_utf8=True,
    fix_c1_controls=True,
    fix_latin_ligatures=False,
    fix_character_width=False,
    uncurl_quotes=False,
    fix_line_breaks=False,
    fix_surrogates=True,
    remove_control_chars=False,
    normalization=None,
    explain=False,
)


def repair(text: str, form: str | None = None) -> str:
    """`text` without mojibake and control characters, in the Unicode form NFC or NFKC if one is given.

    A text that has neither is returned as it is. Repairing twice changes nothing more.

    Raises:
        ValueError: `form` is another.
    """
    if form is not None and form not in FORMS:
        raise ValueError(f"form is {form!r}, wanted None, {' or '.join(FORMS)}")
    if not text.isascii():
        if _SUSPECT.search(text):
            text = "".join(map(_without_mojibake, text.splitlines(keepends=True)))
        if form is not None:
            text = unicodedata.normalize(cast("Literal['NFC', 'NFKC']", form), text)
    if _REMOVED.search(text):
        text = _REMOVED.sub("", _HALVED.sub(lambda half: chr(0x2000 | ord(half[0])), text))
    return text


def batch(texts: Sequence[str], form: str | None = None) -> list[str]:
    """`repair` of each text."""
    return [repair(text, form) for text in texts]


def _without_mojibake(line: str) -> str:
    if not _SUSPECT.search(line) or not (BADNESS_RE.search(line) or _ALWAYS_WRONG.search(line)):
        return line
    return ftfy.fix_text(line, _MOJIBAKE)
