"""Words, lines and sentences of a text, and the published filters that remove lines from it.

A *line* is what stands between two line breaks, without the white space at its ends; blank
lines count nowhere. A *word* here is a maximal run without white space; `etl.kernels.words`
cuts marks off it where a rule wants that. In scripts that put no spaces between words (Han,
Kana, Bopomofo, Yi, Thai, Lao, Khmer, Burmese, Tibetan, Tai, Tangut) each letter, with the
combining marks that follow it, is a word of its own, so that a Chinese page does not look like
one of seven words. White space is what `str.isspace` says.

Every function takes any `str`, lone surrogates and NULs included, in time linear in its
length, and raises for none.
"""

import functools
import re
import unicodedata
from collections.abc import Callable
from typing import Any, NamedTuple, TypeVar

import numpy as np
import numpy.typing as npt

from etl.kernels.words import cut

Count = TypeVar("Count", int, npt.NDArray[np.int64])

# Letters of scripts without spaces; digits and punctuation of these scripts stay in ordinary words.
UNSPACED = (
    "\u0e01-\u0e3a\u0e40-\u0e4e\u0e81-\u0ebd\u0ec0-\u0ece\u0edc-\u0edf"  # Thai, Lao
    "\u0f00\u0f18\u0f19\u0f35\u0f37\u0f39\u0f40-\u0f84\u0f86-\u0fbc\u0fc6"  # Tibetan
    "\u1000-\u103f\u1050-\u108f\u109a-\u109d\ua9e0-\ua9ef\ua9fa-\ua9fe\uaa60-\uaa76\uaa7a-\uaa7f"  # Burmese
    "\u1780-\u17d3\u17d7\u17dc\u17dd"  # Khmer
    "\u1950-\u1974\u1980-\u19c9\u1a20-\u1a7f\u1aa7\uaa80-\uaac2\uaadb-\uaadd"  # Tai
    "\U00011700-\U0001172b\U00011740-\U00011746"  # Ahom
    "\u3005-\u3007\u3021-\u3029\u3031-\u3035\u3038-\u303c\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff"  # Han
    "\u3041-\u309a\u309d-\u309f\u30a1-\u30fa\u30fc-\u30ff\u31f0-\u31ff\uff66-\uff9f\U0001aff0-\U0001b16f"  # Kana
    "\u3105-\u312f\u31a0-\u31bf\ua000-\ua48c"  # Bopomofo, Yi
    "\U00016fe0\U00016fe1\U00017000-\U00018dff\U0001b170-\U0001b2ff\U00020000-\U0003fffd"  # Tangut, Nushu, Han
)
UNSPACED_MARKS = (
    "\u0e31\u0e34-\u0e3a\u0e47-\u0e4e\u0eb1\u0eb4-\u0ebc\u0ec8-\u0ece"
    "\u0f18\u0f19\u0f35\u0f37\u0f39\u0f71-\u0f84\u0f86\u0f87\u0f8d-\u0fbc\u0fc6"
    "\u102b-\u103e\u1056-\u1059\u105e-\u1060\u1062-\u1064\u1067-\u106d\u1071-\u1074\u1082-\u108d\u108f\u109a-\u109d"
    "\ua9e5\uaa7b-\uaa7d\u17b4-\u17d3\u17dd\u1a55-\u1a7f\uaab0\uaab2-\uaab4\uaab7\uaab8\uaabe\uaabf\uaac1"
    "\U0001171d-\U0001172b\u3099\u309a"
)
_UNSPACED_WORD = re.compile(f"[{UNSPACED}][{UNSPACED_MARKS}]*|[^\\s{UNSPACED}]+")
_UNSPACED_LETTER = re.compile(f"[{UNSPACED}]")
# Where these letters stand, and some that do use spaces, such as Hangul, for which it is only slower.
UNSPACED_RANGES = ((0x0E01, 0x1AFF), (0x3005, 0xFAFF), (0xFF66, 0xFF9F), (0x11700, 0x3FFFD))
MAYBE_UNSPACED = re.compile("[" + "".join(f"{chr(first)}-{chr(last)}" for first, last in UNSPACED_RANGES) + "]")

# FineWeb, Penedo et al. 2024: what ends a sentence in any script, but no quotation mark and no ellipsis.
LINE_END_PUNCTUATION = frozenset(
    ".!?\u0589\u061d\u061e\u061f\u06d4\u0700\u0701\u0702\u07f9\u0837\u0839\u083d\u083e\u0964\u0965\u104a\u104b"
    "\u1362\u1367\u1368\u166e\u1735\u1736\u17d4\u17d5\u17d6\u17d9\u17da\u1803\u1809\u1944\u1945\u1aa8\u1aa9\u1aaa"
    "\u1aab\u1b5a\u1b5b\u1b5e\u1b5f\u1b7d\u1b7e\u1c3b\u1c3c\u1c7e\u1c7f\u203c\u203d\u2047\u2048\u2049\u2e2e\u2e3c"
    "\u2e53\u2e54\u3002\ua4ff\ua60e\ua60f\ua6f3\ua6f7\ua876\ua877\ua8ce\ua8cf\ua92f\ua9c8\ua9c9\uaa5d\uaa5e\uaa5f"
    "\uaaf0\uaaf1\uabeb\ufe52\ufe56\ufe57\uff01\uff0e\uff1f\uff61\U00010a56\U00010a57\U00010f55\U00010f56"
    "\U00010f57\U00010f58\U00010f59\U00010f86\U00010f87\U00010f88\U00010f89\U00011047\U00011048\U000110be"
    "\U000110bf\U000110c0\U000110c1\U00011141\U00011142\U00011143\U000111c5\U000111c6\U000111cd\U000111de"
    "\U000111df\U00011238\U00011239\U0001123b\U0001123c\U000112a9\U0001144b\U0001144c\U000115c2\U000115c3"
    "\U000115c9\U000115ca\U000115cb\U000115cc\U000115cd\U000115ce\U000115cf\U000115d0\U000115d1\U000115d2"
    "\U000115d3\U000115d4\U000115d5\U000115d6\U000115d7\U00011641\U00011642\U0001173c\U0001173d\U0001173e"
    "\U00011944\U00011946\U00011a42\U00011a43\U00011a9b\U00011a9c\U00011c41\U00011c42\U00011ef7\U00011ef8"
    "\U00011f43\U00011f44\U00016a6e\U00016a6f\U00016af5\U00016b37\U00016b38\U00016b44\U00016e98\U0001bc9f"
    "\U0001da88"
)
# Of these, the marks that end a sentence for spaCy's sentencizer, with which datatrove counts sentences.
SENTENCE_ENDS = LINE_END_PUNCTUATION.difference(
    "\u061d\u061e\u0837\u0839\u083d\u083e\u17d4\u17d5\u17d6\u17d9\u17da\u1b7d\u1b7e\u2e53\u2e54\U00010f55\U00010f56"
    "\U00010f57\U00010f58\U00010f59\U00010f86\U00010f87\U00010f88\U00010f89\U00011944\U00011946\U00011ef7"
    "\U00011ef8\U00011f43\U00011f44\U00016e98"
)

# C4, Raffel et al. 2020, section 2.2; the limit on long words is in its published code only.
C4_MIN_WORDS = 3
C4_MAX_WORD_LENGTH = 1000
C4_TERMINAL_PUNCTUATION = frozenset(".!?\"'")
C4_POLICY_PHRASES = (
    "terms of use",
    "privacy policy",
    "cookie policy",
    "uses cookies",
    "use of cookies",
    "use cookies",
)
CITATION = re.compile(r"\[(?:\d*|edit|citation needed)\]")

# RefinedWeb, Penedo et al. 2023, appendix G.2; the bounds are those of DCLM, Li et al. 2024.
REFINEDWEB_MAX_UPPERCASE_RATIO = 0.5
REFINEDWEB_MIN_WORDS = 2
REFINEDWEB_SHORT_LINE_WORDS = 10
REFINEDWEB_PHRASES = ("items in cart", "read more", "sign-in")
_COUNTER = re.compile(
    r"\W*\d[\d.,]*[kmb]?\s+"
    r"(?:like|share|comment|retweet|repost|quote|bookmark|upvote|downvote|download|view|follower)s?\W*"
)
_PHRASE = re.compile(r"^sign-in\s?|\s?items in cart|\s?read more(?:\.\.\.|\u2026)$", re.ASCII | re.IGNORECASE)


def words(text: str) -> list[str]:
    """The words of `text`, in order; see the module for what a word is."""
    if text.isascii() or not MAYBE_UNSPACED.search(text):
        return text.split()
    return _UNSPACED_WORD.findall(text)


def lines(text: str) -> list[str]:
    """The lines of `text` that hold a non-space character, without white space at their ends."""
    return [line for line in map(str.strip, text.split("\n")) if line]


def paragraphs(text: str) -> list[str]:
    """Blocks between empty lines; white space is only cut off the ends of `text`."""
    blocks = (block.strip("\n") for block in text.strip().split("\n\n"))
    return [block for block in blocks if block]


def is_unspaced(text: str) -> bool:
    """Most letters of `text` are of scripts that put no spaces between words."""
    if text.isascii() or not MAYBE_UNSPACED.search(text):
        return False
    return 2 * len(_UNSPACED_LETTER.findall(text)) > sum(map(str.isalpha, text))


def splitter(text: str) -> Callable[[str], list[str]]:
    """What cuts a line of `text` into words; a few Chinese letters in an English text are no words each."""
    return words if is_unspaced(text) else str.split


def sentences(line: str, split: Callable[[str], list[str]] = str.split) -> int:
    """Sentences of a line: one more than there are words, or white space of more than one space, after an end.

    An end is one of `SENTENCE_ENDS` as a word of its own, as `cut` leaves it; marks that follow an
    end belong to it. So "e.g. this" goes on, and an abbreviation that `cut` does not know counts as
    an end. The rule of spaCy's sentencizer.
    """
    found, is_over = 1, False
    for piece in _SPACE_RUN.split(line):
        for word in (" ",) if piece.isspace() else (word for run in split(piece) for word in _cut(run)):
            if word in SENTENCE_ENDS:
                is_over = True
            elif is_over and not is_punctuation(word):
                found, is_over = found + 1, False
    return found


_cut = functools.lru_cache(maxsize=1 << 14)(cut)
# One space is no word to spaCy, any other white space is one; at the start even one space.
_SPACE_RUN = re.compile(r"((?<=\S)(?! \S)(?! \Z)\s+|\A\s+)")


def is_punctuation(word: str) -> bool:
    """Every character is of a Unicode category of punctuation."""
    return all(unicodedata.category(character)[0] == "P" for character in word)


def ends_in_terminal_punctuation(line: str) -> bool:
    """C4's rule: the line ends in . ! ? or a straight quotation mark, and not in an ellipsis."""
    return line[-1:] in C4_TERMINAL_PUNCTUATION and not line.endswith("...")


class C4Line(NamedTuple):
    """What C4 sees of a line."""

    text: str  # without citation marks such as [12] and [edit]
    is_long_enough: bool  # three words or more, none of more than 1000 characters
    is_punctuated: bool
    has_javascript: bool
    has_policy: bool
    has_lorem_ipsum: bool
    has_curly_bracket: bool

    @property
    def is_kept(self) -> bool:
        """C4 keeps the line when it does not ask for terminal punctuation."""
        return self.is_long_enough and not self.has_javascript and not self.has_policy


def c4_line(line: str, split: Callable[[str], list[str]] = str.split) -> C4Line:
    """Words are those of the line as it stands; all else is of the line without citation marks."""
    line_words = split(line)
    left = CITATION.sub("", line)
    lower = left.lower()
    return C4Line(
        text=left,
        is_long_enough=len(line_words) >= C4_MIN_WORDS and max(map(len, line_words)) <= C4_MAX_WORD_LENGTH,
        is_punctuated=ends_in_terminal_punctuation(left),
        has_javascript="javascript" in lower,
        has_policy=has_policy_phrase(lower),
        has_lorem_ipsum="lorem ipsum" in lower,
        has_curly_bracket="{" in left,
    )


def has_policy_phrase(lower: str) -> bool:
    """The text in small letters has one of C4's phrases about policies and cookies."""
    return any(phrase in lower for phrase in C4_POLICY_PHRASES)


def c4_lines(text: str) -> str:
    """`text` without the lines that C4 drops, joined by newlines: Raffel et al. 2020, section 2.2.

    Dropped are lines without terminal punctuation, with fewer than three words, with a word of more
    than 1000 characters, or with a javascript or policy phrase.
    """
    return _c4_lines(text, lambda line: line.is_kept and line.is_punctuated)


def fineweb_lines(text: str) -> str:
    """As `c4_lines`, but lines need no terminal punctuation: Penedo et al. 2024, section 3.5."""
    return _c4_lines(text, lambda line: line.is_kept)


def _c4_lines(text: str, is_kept: Callable[[C4Line], bool]) -> str:
    split = splitter(text)
    of_text = (c4_line(line.strip(), split) for line in text.splitlines())
    return "\n".join(line.text for line in of_text if is_kept(line)).strip()


def refinedweb_drops(words: Count, characters: Count, uppercase: Count) -> Any:
    """RefinedWeb removes a line of so many words, characters and capitals; ints, or arrays of them."""
    return (words < REFINEDWEB_MIN_WORDS) | (uppercase > REFINEDWEB_MAX_UPPERCASE_RATIO * characters)


def has_refinedweb_phrase(lower: str) -> bool:
    """The text in small letters has one of the phrases that RefinedWeb cuts out of short lines."""
    return any(phrase in lower for phrase in REFINEDWEB_PHRASES)


def refinedweb_short_line(line: str) -> str:
    """What RefinedWeb leaves of a line of at most ten words: nothing of a counter, and no phrase at its place."""
    if not line[0].isalpha() and _COUNTER.fullmatch(line.lower()):
        return ""
    return _PHRASE.sub("", line).strip()


def refinedweb_lines(text: str) -> str:
    """`text` without the lines and phrases that RefinedWeb and DCLM remove.

    A line goes when more than half of its characters are capitals, when it has fewer than
    two words (so also when it is one number), or when it is a counter ("3 likes"). Of a
    line of at most ten words, "sign-in" at its start, "read more..." at its end and "items
    in cart" anywhere go, and the line with them if nothing is left. Blank lines stay, so
    paragraphs do: Penedo et al. 2023, appendix G.2, as in DCLM, Li et al. 2024.
    """
    kept = []
    for line in map(str.strip, text.split("\n")):
        if line:
            line_words = len(words(line))
            if refinedweb_drops(line_words, len(line), sum(map(str.isupper, line))):
                continue
            left = refinedweb_short_line(line) if line_words <= REFINEDWEB_SHORT_LINE_WORDS else line
            if left:
                kept.append(left)
        else:
            kept.append(line)
    return "\n".join(kept).strip("\n")
