"""English words as the published filters count them: cut as by the tokenizer of spaCy for English.

Gopher's rules, and those of C4 and FineWeb after it, are counts of words, and datatrove, which made
FineWeb, takes its words from spaCy 3 (MIT licence, Explosion). Its rules are written anew here, so
that decisions are equal without a dependency of a hundred megabytes: marks are cut off both ends of
what stands between white space, contractions and some abbreviations are looked up, addresses stay
whole, and what is left is cut at marks between letters. `tests/kernels/test_words.py` compares the
two wherever spaCy is installed.

One difference is known and left: spaCy also looks for abbreviations across white space and finds
that it must not use them, which can keep it from another one that overlaps, as in ``: (8)``.
"""

import re
from collections.abc import Iterator
from itertools import chain

# Alphabets that spaCy knows, as code points: with capitals, and without.
_CASED = (
    "41-5a 61-7a c0-d6 d8-f6 f8-1bf 1c4-2af 386 388-38a 38c 38e-38f 391-3a9 3ac-3af 3b1-3c9 3cc-3ce 400-401 "
    "403-40a 40c-40d 410-451 453-45a 45c-45d 490-491 496-497 4a2-4a3 4ae-4af 4ba-4bb 4d8-4d9 4e8-4e9 1d00-1d25 "
    "1d6b-1d77 1d79-1d9a 1e00-1eff 2c60-2c7b 2c7e-2c7f a722-a76f a771-a787 a78b-a78e a790-a7b9 a7fa ab30-ab5a "
    "ab60-ab64 ff21-ff3a ff41-ff5a"
)
_UNCASED = (
    "591-5f4 620-64a 66e-6d5 6e5-6ff 750-77f 8a0-8bd 900-9ff b80-cff d80-dff 1100-137f 2e80-2fdf 2ff0-30ff "
    "31c0-31ef 3200-4dbf 4e00-9fff ac00-d7af f900-faff fb1d-fbb1 fbd3-fd3d fd50-fdc7 fdf0-fdfb fe30-fe4f "
    "fe70-fefc 1ee00-1eebb 1f200-1f2ff 20000-2a6df 2a700-2ebef 2f800-2fa1f"
)
# The symbols (category So) of Unicode 11, whatever Unicode this Python knows.
_ICONS = (
    "a6 a9 ae b0 482 58d-58e 60e-60f 6de 6e9 6fd-6fe 7f6 9fa b70 bf3-bf8 bfa c7f d4f d79 f01-f03 f13 f15-f17 "
    "f1a-f1f f34 f36 f38 fbe-fc5 fc7-fcc fce-fcf fd5-fd8 109e-109f 1390-1399 1940 19de-19ff 1b61-1b6a 1b74-1b7c "
    "2100-2101 2103-2106 2108-2109 2114 2116-2117 211e-2123 2125 2127 2129 212e 213a-213b 214a 214c-214d 214f "
    "218a-218b 2195-2199 219c-219f 21a1-21a2 21a4-21a5 21a7-21ad 21af-21cd 21d0-21d1 21d3 21d5-21f3 2300-2307 "
    "230c-231f 2322-2328 232b-237b 237d-239a 23b4-23db 23e2-2426 2440-244a 249c-24e9 2500-25b6 25b8-25c0 "
    "25c2-25f7 2600-266e 2670-2767 2794-27bf 2800-28ff 2b00-2b2f 2b45-2b46 2b4d-2b73 2b76-2b95 2b98-2bc8 "
    "2bca-2bfe 2ce5-2cea 2e80-2e99 2e9b-2ef3 2f00-2fd5 2ff0-2ffb 3004 3012-3013 3020 3036-3037 303e-303f "
    "3190-3191 3196-319f 31c0-31e3 3200-321e 322a-3247 3250 3260-327f 328a-32b0 32c0-32fe 3300-33ff 4dc0-4dff "
    "a490-a4c6 a828-a82b a836-a837 a839 aa77-aa79 fdfd ffe4 ffe8 ffed-ffee fffc-fffd 10137-1013f 10179-10189 "
    "1018c-1018e 10190-1019b 101a0 101d0-101fc 10877-10878 10ac8 1173f 16b3c-16b3f 16b45 1bc9c 1d000-1d0f5 "
    "1d100-1d126 1d129-1d164 1d16a-1d16c 1d183-1d184 1d18c-1d1a9 1d1ae-1d1e8 1d200-1d241 1d245 1d300-1d356 "
    "1d800-1d9ff 1da37-1da3a 1da6d-1da74 1da76-1da83 1da85-1da86 1ecac 1f000-1f02b 1f030-1f093 1f0a0-1f0ae "
    "1f0b1-1f0bf 1f0c1-1f0cf 1f0d1-1f0f5 1f110-1f16b 1f170-1f1ac 1f1e6-1f202 1f210-1f23b 1f240-1f248 1f250-1f251 "
    "1f260-1f265 1f300-1f3fa 1f400-1f6d4 1f6e0-1f6ec 1f6f0-1f6f9 1f700-1f773 1f780-1f7d8 1f800-1f80b 1f810-1f847 "
    "1f850-1f859 1f860-1f887 1f890-1f8ad 1f900-1f90b 1f910-1f93e 1f940-1f970 1f973-1f976 1f97a 1f97c-1f9a2 "
    "1f9b0-1f9b9 1f9c0-1f9c2 1f9d0-1f9ff 1fa60-1fa6d"
)


def _pairs(ranges: str) -> Iterator[tuple[int, int]]:
    for item in ranges.split():
        first, _, last = item.partition("-")
        yield int(first, 16), int(last or first, 16)


def _class(ranges: str) -> str:
    """The inside of a character class of a regular expression."""
    return "".join(f"{chr(first)}-{chr(last)}" for first, last in _pairs(ranges))


_cased = [chr(code) for first, last in _pairs(_CASED) for code in range(first, last + 1)]
_ICON = _class(_ICONS)
_ALPHA = _class(_CASED) + _class(_UNCASED)
# With the glottal stop, which has no case and is a small letter there.
_LOWER = "".join(filter(str.islower, _cased)) + "\u0294" + _class(_UNCASED)
_UPPER = "".join(filter(str.isupper, _cased)) + _class(_UNCASED)
_PUNCT = re.escape(
    "!#&()*,:;<>?[]_{}\u00a1\u00b7\u00bf\u060c\u061b\u061f\u066a\u06d4\u0964\u2026\u3001\u3002\uff01\uff0c\uff1a"
    "\uff1b\uff1f\uff5e"
)
_QUOTES = re.escape(
    "\"',`\u00ab\u00b4\u00bb\u2018\u2019\u201a\u201c\u201d\u201e\u2329\u232a\u27e6\u27e7\u3008-\u3011\u3014\u3015"
    "\uff08\uff09"
).replace("\\-", "-")
_CURRENCY = "$\u00a3\u00a5\u0e3f\u20a0-\u20bf\ufdfc"
_UNITS = (
    *("km", "km\u00b2", "km\u00b3", "m", "m\u00b2", "m\u00b3", "dm", "dm\u00b2", "dm\u00b3", "cm", "cm\u00b2"),
    *("cm\u00b3", "mm", "mm\u00b2", "mm\u00b3", "ha", "\u00b5m", "nm", "yd", "in", "ft", "kg", "g", "mg", "\u00b5g"),
    *("t", "lb", "oz", "m/s", "km/h", "kmh", "mph", "hPa", "Pa", "mbar", "mb", "MB", "kb", "KB", "gb", "GB", "tb"),
    *("TB", "T", "G", "M", "K", "%", "\u043a\u043c", "\u043a\u043c\u00b2", "\u043a\u043c\u00b3", "\u043c"),
    *("\u043c\u00b2", "\u043c\u00b3", "\u0434\u043c", "\u0434\u043c\u00b2", "\u0434\u043c\u00b3", "\u0441\u043c"),
    *("\u0441\u043c\u00b2", "\u0441\u043c\u00b3", "\u043c\u043c", "\u043c\u043c\u00b2", "\u043c\u043c\u00b3"),
    *("\u043d\u043c", "\u043a\u0433", "\u0433", "\u043c\u0433", "\u043c/\u0441", "\u043a\u043c/\u0447"),
    *("\u043a\u041f\u0430", "\u041f\u0430", "\u043c\u0431\u0430\u0440", "\u041a\u0431", "\u041a\u0411"),
    *("\u043a\u0431", "\u041c\u0431", "\u041c\u0411", "\u043c\u0431", "\u0413\u0431", "\u0413\u0411", "\u0433\u0431"),
    # Two units that spaCy's list has run together.
    *("\u0422\u0431", "\u0422\u0411", "\u0442\u0431\u0643\u0645"),
    *("\u0643\u0645\u00b2", "\u0643\u0645\u00b3", "\u0645", "\u0645\u00b2", "\u0645\u00b3", "\u0633\u0645"),
    *("\u0633\u0645\u00b2", "\u0633\u0645\u00b3", "\u0645\u0645", "\u0645\u0645\u00b2", "\u0645\u0645\u00b3"),
    *("\u0643\u0645", "\u063a\u0631\u0627\u0645", "\u062c\u0631\u0627\u0645", "\u062c\u0645", "\u0643\u063a"),
    *("\u0645\u0644\u063a", "\u0643\u0648\u0628", "\u0627\u0643\u0648\u0627\u0628"),
)

_PREFIX = re.compile(
    f"[\u00a7%=\u2014\u2013{_PUNCT}{_QUOTES}{_CURRENCY}{_ICON}]|\\+(?![0-9])|\\.\\.+|US\\$|[CA]\\$",
)
_SUFFIX = re.compile(
    f"(?:\u2026\u2026|[{_PUNCT}{_QUOTES}{_ICON}\u2014\u2013]|['\u2019][sS]|\\.\\.+"
    "|(?<=[0-9])(?:\\+|US\\$|[CA]\\$|"
    f"[{_CURRENCY}]|{'|'.join(map(re.escape, _UNITS))})"
    "|(?<=\u00b0[FfCcKk])\\."
    # What looks like two groups are characters of the class in spaCy.
    f"|(?<=[0-9{_LOWER}%\u00b2\\-+|{_PUNCT}{_QUOTES}])\\."
    f"|(?<=[{_UPPER}][{_UPPER}])\\.)\\Z"
)
_SUFFIX_REACH = 8  # what a suffix but a run of dots needs to see: five characters, and two before them
_INFIX = re.compile(
    f"\\.\\.+|[\u2026{_ICON}]"
    "|(?<=[0-9])[+\\-*^](?=[0-9\\-])"
    f"|(?<=[{_LOWER}{_QUOTES}])\\.(?=[{_UPPER}{_QUOTES}])"
    f"|(?<=[{_ALPHA}]),(?=[{_ALPHA}])"
    f"|(?<=[{_ALPHA}0-9])(?:---?|\u2014\u2014?|[-\u2013~])(?=[{_ALPHA}])"
    f"|(?<=[{_ALPHA}0-9])[:<>=/](?=[{_ALPHA}])"
)

_HOST = "A-Za-z0-9\u00a1-\uffff"
_AFTER_HOST = "(?::\\d{2,5})?(?:[/?#].*)?\\Z"
_ADDRESS = re.compile(
    f"(?:(?:[{_HOST}](?:[{_HOST}_\\-]{{0,62}}[{_HOST}])?\\.)+[{_LOWER}]{{2,63}}"
    # An IPv4 address; not one of a private network, a loopback, a network or a broadcast.
    "|(?!(?:10|127)(?:\\.\\d{1,3}){3}|(?:169\\.254|192\\.168)(?:\\.\\d{1,3}){2}"
    "|172\\.(?:1[6-9]|2\\d|3[01])(?:\\.\\d{1,3}){2})"
    "(?:[1-9]\\d?|1\\d\\d|2[01]\\d|22[0-3])(?:\\.(?:1?\\d{1,2}|2[0-4]\\d|25[0-5])){2}"
    f"\\.(?:[1-9]\\d?|1\\d\\d|2[0-4]\\d|25[0-4])){_AFTER_HOST}",
    re.DOTALL,
)
_SCHEME = re.compile("[\\w+\\-.]{2,}://")

_EMOTICONS = r"""
    :) :-) :)) :-)) :))) :-))) (: (-: =) (= :] :-] [: [-: [= =] :o) (o: :} :-} 8) 8-) (-8 ;) ;-) (; (-; :( :-( :(( :-((
    :((( :-((( ): )-: =( >:( :') :'-) :'( :'-( :/ :-/ =/ =| :| :-| ]= =[ :1 :P :-P :p :-p :O :-O :o :-o :0 :-0 :() >:o
    :* :-* :3 :-3 =3 :> :-> :X :-X :x :-x :D :-D ;D ;-D =D xD XD xDD XDD 8D 8-D ^_^ ^__^ ^___^ >.< >.> <.< ._. ;_; -_-
    -__- v.v V.V v_v V_V o_o o_O O_o O_O 0_o o_0 0_0 o.O O.o O.O o.o 0.0 o.0 0.o @_@ <3 <33 <333 </3 (^_^) (-_-) (._.)
    (>_<) (*_*) ><(((*>
"""
# Words that stay whole, though they end in a mark or hold one.
_WHOLE = r"""
    ' '' \") \t \n <space> C++ a. b. c. d. e. f. g. h. i. j. k. l. m. n. o. p. q. r. s. t. u. v. w. x. y. z.
    em 'em ll 'll nuff 'nuff 'S 's and/or w/o 're 'Cause 'cause 'cos 'Cos 'coz 'Coz 'cuz 'Cuz 'bout 'd ma'am Ma'am
    o'clock O'clock Mt. Ak. Ala. Apr. Ariz. Ark. Aug. Calif. Colo. Conn. Dec. Del. Feb. Fla. Ga. Ia. Id. Ill. Ind. Jan.
    Jul. Jun. Kan. Kans. Ky. La. Mar. Mass. Mich. Minn. Miss. N.C. N.D. N.H. N.J. N.M. N.Y. Neb. Nebr. Nev. Nov. Oct.
    Okla. Ore. Pa. S.C. Sep. Sept. Tenn. Va. Wash. Wis. a.m. Adm. Bros. co. Co. Corp. D.C. Dr. e.g. E.g. E.G. Gen. Gov.
    i.e. I.e. I.E. Inc. Jr. Ltd. Md. Messrs. Mo. Mont. Mr. Mrs. Ms. p.m. Ph.D. Prof. Rep. Rev. Sen. St. vs. v.s.
"""
_SLANG = ("doin", "goin", "nothin", "nuthin", "ol", "somethin", "lovin", "havin")
# What a word is cut into before each ending; with an apostrophe before the ending, and without.
_CONTRACTED = (
    ("i", "m", "ll", "ll ve", "d", "d ve", "ve"),
    ("you we they", "ll", "ll ve", "d", "d ve", "ve", "re"),
    ("he she it that this", "ll", "ll ve", "d", "d ve", "s"),
    ("who what when where why how there", "s", "ll", "ll ve", "re", "ve", "d", "d ve"),
    ("these those", "ll", "ll ve", "re", "ve", "d", "d ve"),
    ("could might must should would", "ve"),
)
_NEGATED = "ca could do does did had may might must need ought sha should wo would ai are is was were have has dare"
_NEGATED_TWICE = _NEGATED.partition(" ai ")[0].split()  # as in "couldn't've"
_WORDS_OF_THEIR_OWN = (
    *("Ill", "ill", "Its", "its", "Hell", "hell", "Shell", "shell", "Shed", "shed", "were", "Were", "Well", "well"),
    *("Whore", "whore"),
)
_OTHER_CONTRACTIONS = (
    "i 'm a",
    "i m a",
    "y' all",
    "y all",
    "how 'd 'y",
    "not 've",
    "not ve",
    "can not",
    "gon na",
    "got ta",
    "let 's",
    "c'm on",
)
_LOWERCASE_ONLY = ("y' all", "y all")


def _exceptions() -> dict[str, tuple[str, ...]]:
    """What is looked up whole, and what it is cut into."""
    cuts: list[tuple[str, ...]] = []
    for stems, *endings in _CONTRACTED:
        for stem in stems.split():
            for parts in map(str.split, endings):
                cuts += [(stem, *parts), (stem, *(f"'{part}" for part in parts))]
    for stem in _NEGATED.split():
        cuts += [(stem, "nt"), (stem, "n't")]
    for stem in _NEGATED_TWICE:
        cuts += [(stem, "nt", "ve"), (stem, "n't", "'ve")]
    cuts += [tuple(parts.split()) for parts in _OTHER_CONTRACTIONS]
    cuts += [(word,) for slang in _SLANG for word in (slang, f"{slang}'")]
    capitals = [(parts[0].title() if parts[0] != "c'm" else "C'm", *parts[1:]) for parts in cuts]
    found = {"".join(parts): parts for parts in chain(cuts, capitals)}
    for parts in map(str.split, _LOWERCASE_ONLY):
        del found["".join((parts[0].title(), *parts[1:]))]
    for word in _WORDS_OF_THEIR_OWN:
        found.pop(word, None)
    for hour in range(1, 13):
        found |= {f"{hour}{half}": (str(hour), half) for half in ("a.m.", "am", "p.m.", "pm")}
    found |= {f"\u00b0{scale}.": ("\u00b0", scale, ".") for scale in "cfkCFK"}
    faces = ["(\u00ac_\u00ac)", "\u0ca0_\u0ca0", "\u0ca0\ufe35\u0ca0", "(\u0ca0_\u0ca0)", "\u00af\\(\u30c4)/\u00af"]
    faces += ["(\u256f\u00b0\u25a1\u00b0\uff09\u256f\ufe35\u253b\u2501\u253b"]
    whole = [
        *_WHOLE.split(),
        *_EMOTICONS.split(),
        *faces,
        "\u2014",
        "\u2018S",
        "\u2018s",
        "\u00e4.",
        "\u00f6.",
        "\u00fc.",
    ]
    found |= {word: (word,) for word in whole}
    curly = {tuple(part.replace("'", "\u2019") for part in parts) for parts in found.values()}
    return found | {"".join(parts): parts for parts in curly}


_EXCEPTIONS = _exceptions()
_LONGEST_EXCEPTION = max(map(len, _EXCEPTIONS))


def cut(run: str) -> tuple[str, ...]:
    """The words of `run`, a run of characters without white space: they make it up, in order.

    Linear in the length of `run`.
    """
    if run.isalpha():
        return _EXCEPTIONS.get(run, (run,))
    # Most other runs are letters and one mark.
    word, mark = run[:-1], run[-1:]
    if word.isalpha() and (mark in _CLOSING or (mark == "." and word[-1] in _SMALL)) and run not in _EXCEPTIONS:
        found = (*_EXCEPTIONS.get(word, (word,)), mark)
    else:
        found = _cut(run, _EXCEPTIONS)
    return _with_exceptions_restored(found) if len(found) > 1 else found


_CLOSING = frozenset(",;:!?)")
_SMALL = frozenset("abcdefghijklmnopqrstuvwxyz")


def _cut(run: str, exceptions: dict[str, tuple[str, ...]]) -> tuple[str, ...]:
    start, end = 0, len(run)
    before: list[str] = []
    after: list[str] = []

    def is_exception(first: int, last: int) -> bool:
        return 0 < last - first <= _LONGEST_EXCEPTION and run[first:last] in exceptions

    while start < end and not is_exception(start, end):
        prefix = _PREFIX.match(run, start, end)
        start_of_rest = prefix.end() if prefix else start
        if prefix and is_exception(start_of_rest, end):
            before.append(prefix[0])
            start = start_of_rest
            break
        suffix = _suffix_length(run, start_of_rest, end)
        if suffix:
            after.append(run[end - suffix : end])
            end -= suffix
            # Looked up with the prefix still on.
            if is_exception(start, end):
                break
        if prefix:
            before.append(prefix[0])
            start = start_of_rest
        if not prefix and not suffix:
            break
    return (*before, *_middle(run[start:end], exceptions), *reversed(after))


def _suffix_length(run: str, start: int, end: int) -> int:
    # A slice, as spaCy looks behind no further than where the prefix ended.
    tail = run[max(start, end - _SUFFIX_REACH) : end]
    if tail.endswith(".."):
        return len(run[start:end]) - len(run[start:end].rstrip("."))
    found = _SUFFIX.search(tail)
    return len(found[0]) if found else 0


def _middle(text: str, exceptions: dict[str, tuple[str, ...]]) -> Iterator[str]:
    if not text:
        return
    if len(text) <= _LONGEST_EXCEPTION and text in exceptions:
        yield from exceptions[text]
        return
    start = 0
    if not text.isalnum() and not is_address(text):
        for infix in _INFIX.finditer(text):
            if infix.start() == 0:
                continue
            if infix.start() > start:
                yield text[start : infix.start()]
            yield infix[0]
            start = infix.end()
    if start < len(text):
        yield text[start:]


def is_address(text: str) -> bool:
    """`text` is a URL with or without a scheme, a host name, or an e-mail address."""
    if "." not in text:
        return False
    if _ADDRESS.match(text):
        return True
    scheme = _SCHEME.match(text)
    if scheme and _ADDRESS.match(text, scheme.end()):
        return True
    at = text.find("@", 1)
    while at > 0:
        if _ADDRESS.match(text, at + 1):
            return True
        at = text.find("@", at + 1)
    return False


# Exceptions that the marks in them would cut, by what they would be cut into: found again in the words
# of a run, "e.g." after a dash for instance.
_CUT_EXCEPTIONS: dict[tuple[str, ...], str] = {}
for _word in _EXCEPTIONS:
    if len(_parts := _cut(_word, {})) > 1:
        _CUT_EXCEPTIONS[_parts] = _word
_STARTS = {parts[0] for parts in _CUT_EXCEPTIONS}
_LENGTHS = sorted({len(parts) for parts in _CUT_EXCEPTIONS}, reverse=True)


def _with_exceptions_restored(found: tuple[str, ...]) -> tuple[str, ...]:
    """`found` with each exception in it cut as it should be: the longest first, then the first."""
    if _STARTS.isdisjoint(found):
        return found
    places = [place for place, word in enumerate(found) if word in _STARTS]
    taken: set[int] = set()
    cuts: dict[int, tuple[int, tuple[str, ...]]] = {}
    for length in _LENGTHS:
        for place in places:
            word = _CUT_EXCEPTIONS.get(found[place : place + length])
            if word is None or place + length > len(found):
                continue
            if place not in taken and place + length - 1 not in taken:
                cuts[place] = (length, _EXCEPTIONS[word])
            taken.update(range(place, place + length))
    if not cuts:
        return found
    words: list[str] = []
    place = 0
    while place < len(found):
        length, parts = cuts.get(place, (1, (found[place],)))
        words += parts
        place += length
    return tuple(words)
