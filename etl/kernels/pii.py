"""Personal data in a text: e-mail and IP addresses, phone, card and account numbers, as spans.

What is found is meant to be masked, so a wrong find costs a number and a missed one costs a person:
each kind has the check that exists for it (a known top-level domain; a public address; the digits of
Luhn and of ISO 7064), and where there is none, for phones, the ways in which people write them.
Versions, dates, prices, ISBNs and identifiers are left alone.

FineWeb replaces e-mail addresses by example addresses and public IP addresses by fixed ones; Dolma
writes ``|||EMAIL_ADDRESS|||``, ``|||PHONE_NUMBER|||`` and ``|||IP_ADDRESS|||``. Here a placeholder
names its kind, ``<email>``, so that a reader of the corpus sees that and what was masked.

Every function takes any `str`, in time linear in its length, and raises for none. No pattern has
two ways to read the same characters without a bound on how many.
"""

import functools
import ipaddress
import re
from collections.abc import Collection, Iterator, Sequence
from typing import NamedTuple

import tldextract

EMAIL, IP_ADDRESS, PHONE, CARD, IBAN = KINDS = ("email", "ip_address", "phone", "card", "iban")


class Span(NamedTuple):
    """`text[start:end]` is personal data of a kind; places are counted in code points."""

    kind: str
    start: int
    end: int


def find(text: str) -> list[Span]:
    """Spans in order, none overlapping. Of two that would, the kind with the stronger check stays."""
    spans: list[Span] = []
    taken = bytearray()

    def take(found: Iterator[Span]) -> None:
        taken.extend(bytes(len(text) - len(taken)))
        for span in found:
            if 1 not in taken[span.start : span.end]:
                taken[span.start : span.end] = bytes([1]) * (span.end - span.start)
                spans.append(span)

    if "@" in text:
        take(_emails(text))
    # The patterns for numbers are dear, so they look only where there are enough digits.
    for start, end in _windows(text):
        for finder in (_ibans, _cards, _ip_addresses, _phones):
            take(finder(text, start, end))
    return sorted(spans, key=lambda span: span.start)


def batch(texts: Sequence[str]) -> list[list[Span]]:
    """The spans of each text; a text without anything like an address or a number costs a search."""
    return list(map(find, texts))


def mask(text: str, spans: Sequence[Span], kinds: Collection[str] = KINDS) -> str:
    """`text` with each span of `kinds` replaced by its placeholder.

    Raises:
        ValueError: a kind is unknown.
    """
    unknown = sorted(set(kinds).difference(KINDS))
    if unknown:
        raise ValueError(f"kinds of personal data are {', '.join(KINDS)}, not {', '.join(unknown)}")
    pieces = []
    end = 0
    for span in spans:
        if span.kind in kinds:
            pieces += [text[end : span.start], placeholder(span.kind)]
            end = span.end
    return "".join((*pieces, text[end:]))


def placeholder(kind: str) -> str:
    """What stands for personal data of `kind` in a corpus."""
    return f"<{kind}>"


# Seven digits with little between them, or the start of an IPv4 or IPv6 address. All start with a digit, which is
# what the search is fast at.
_NUMBER = re.compile(
    r"[0-9](?:(?:[^0-9A-Za-z\n,;]{0,3}[0-9]){6}|[0-9]{0,2}\.[0-9]{1,3}\.[0-9]{1,3}\.[0-9]|(?<=[23])[0-9A-Fa-f]{3}:[0-9A-Fa-f:]{2})"
)
# Characters that a number may have before and after that, and more: a word for phone, letters of an IBAN, an extension.
_BEFORE, _AFTER = 40, 64


def _windows(text: str) -> Iterator[tuple[int, int]]:
    """Stretches of `text` outside of which no number is long enough; they do not overlap."""
    first = last = -1
    for found in _NUMBER.finditer(text):
        if found.start() - _BEFORE > last:
            if last >= 0:
                yield first, last
            first = max(0, found.start() - _BEFORE)
        last = found.end() + _AFTER
    if last >= 0:
        yield first, last


_LOCAL = r"[A-Za-z0-9_%+'!#$&*/=?^`{|}~-]"
_EMAIL = re.compile(
    rf"(?<![\w.%+'-])(?=[\w.%+'!#$&*/=?^`{{|}}~-]{{1,64}}@){_LOCAL}+(?:\.{_LOCAL}+)*"
    r"@((?:[^\W_](?:[^\W_]|-){0,62}\.){1,8}[^\W\d_](?:[^\W_]|-){1,62})(?![\w-])",
)


def _emails(text: str) -> Iterator[Span]:
    for found in _EMAIL.finditer(text):
        if found[1].rpartition(".")[2].lower() in _top_level_domains():
            quote = len(found[0]) - len(found[0].lstrip("'`{|"))
            yield Span(EMAIL, found.start() + quote, found.end())


@functools.cache
def _top_level_domains() -> frozenset[str]:
    """Those of the snapshot that tldextract brings; nothing is fetched."""
    suffixes = tldextract.TLDExtract(suffix_list_urls=(), cache_dir=None).tlds
    return frozenset(suffix.rpartition(".")[2] for suffix in suffixes)


# What stands before a number that is no address of a machine and no number of a person.
_IDENTIFIER_BEFORE = re.compile(
    r"(?:\b(?:isbn|issn|doi|ean|upc|asin|sku|gtin|pmid|arxiv|orcid|serial|order|invoice|part|model|item|ref|id|no|nr|"
    r"version|ver|v|release|build|firmware|section|chapter|rfc|patent|case|docket|catalog|lot)\b(?:-1[03])?"
    r"[\s.:#\u2116-]{0,4}|[#\u2116=/_\\])\Z",
    re.IGNORECASE,
)
_CONTEXT = 24  # characters before a number that are looked at


def _is_identifier(text: str, start: int) -> bool:
    return _IDENTIFIER_BEFORE.search(text[max(0, start - _CONTEXT) : start]) is not None


_IPV4 = re.compile(r"(?<![\w.+-])(?:[0-9]{1,3}\.){3}[0-9]{1,3}(?![\w-]|\.[0-9])")
# All public addresses are in 2000::/3, which words of hexadecimal letters with colons are not.
_IPV6 = re.compile(r"(?<![\w:.])[23][0-9A-Fa-f]{3}:[0-9A-Fa-f:]{2,34}(?![\w:])")


def _ip_addresses(text: str, first: int, last: int) -> Iterator[Span]:
    for pattern in (_IPV4, _IPV6):
        for found in pattern.finditer(text, first, last):
            if _is_public(found[0]) and not _is_version(text, found.start(), found[0]):
                yield Span(IP_ADDRESS, found.start(), found.end())


def _is_public(address: str) -> bool:
    try:
        parsed = ipaddress.ip_address(address)
    except ValueError:
        return False
    return parsed.is_global and not parsed.is_multicast


def _is_version(text: str, start: int, address: str) -> bool:
    """A version or a section: by the word before it, or as four small numbers that are not one number four times."""
    parts = address.split(".")
    is_small = len(parts) == 4 and all(len(part) == 1 for part in parts) and len(set(parts)) > 1
    return is_small or _is_identifier(text, start)


_CARD = re.compile(
    r"(?<![\w.,+$\u20ac\u00a3#=/\\-])(?<![0-9][ -])"
    r"(?:[0-9]{14,19}|[0-9]{4}([ -])(?:[0-9]{4}\1[0-9]{4}\1[0-9]{4}(?:\1[0-9]{3})?|[0-9]{6}\1[0-9]{4,5}))"
    r"(?![\w/=]|[ -][0-9]|[.,][0-9])"
)
# Issuer by its first digits, and the lengths of its numbers.
_ISSUERS = (
    ((40, 49), (16, 19)),  # Visa; its 13 digits are out of use, and look like an EAN
    ((51, 55), (16,)),  # Mastercard
    ((2221, 2720), (16,)),
    ((34, 34), (15,)),  # American Express
    ((37, 37), (15,)),
    ((6011, 6011), (16, 19)),  # Discover
    ((644, 659), (16, 19)),
    ((3528, 3589), (16, 17, 18, 19)),  # JCB
    ((300, 305), (14, 16)),  # Diners Club
    ((36, 36), (14,)),
    ((38, 39), (14, 16)),
    ((62, 62), (16, 17, 18, 19)),  # UnionPay
    ((50, 50), (16,)),  # Maestro
    ((56, 58), (16,)),
)


def _cards(text: str, first: int, last: int) -> Iterator[Span]:
    for found in _CARD.finditer(text, first, last):
        digits = re.sub("[ -]", "", found[0])
        if _has_issuer(digits) and is_luhn(digits) and not _is_identifier(text, found.start()):
            yield Span(CARD, found.start(), found.end())


def _has_issuer(digits: str) -> bool:
    return any(
        len(digits) in lengths and first <= int(digits[: len(str(first))]) <= last
        for (first, last), lengths in _ISSUERS
    )


def is_luhn(digits: str) -> bool:
    """The last digit is the check digit of the others: ISO/IEC 7812-1, annex B."""
    doubled = (sum(divmod(2 * int(digit), 10)) for digit in digits[-2::-2])
    return (sum(map(int, digits[-1::-2])) + sum(doubled)) % 10 == 0


# Characters of an account number by country: the registry of ISO 13616.
_IBAN_LENGTHS = {
    country: int(length)
    for length, countries in (
        ("15", "NO"),
        ("16", "BE"),
        ("18", "DK FK FO FI GL NL SD"),
        ("19", "MK SI"),
        ("20", "AT BA EE KZ XK LT LU MN"),
        ("21", "HR LI LV CH"),
        ("22", "BH BG CR GE DE IE ME RS GB VA"),
        ("23", "GI IQ IL OM SO TL AE"),
        ("24", "AD CZ MD PK RO SA SK ES SE TN VG"),
        ("25", "LY PT ST"),
        ("26", "IS TR"),
        ("27", "BI DJ FR GR IT MR MC SM"),
        ("28", "AL AZ BY CY DO SV GT HN HU LB NI PL"),
        ("29", "BR EG PS QA UA"),
        ("30", "JO KW MU YE"),
        ("31", "MT SC"),
        ("32", "LC"),
        ("33", "RU"),
    )
    for country in countries.split()
}
_IBAN = re.compile(r"(?<![A-Za-z0-9])([A-Z]{2})[0-9]{2}(?:[ \u00a0-]?[A-Z0-9]){11,29}")


def _ibans(text: str, first: int, last: int) -> Iterator[Span]:
    for found in _IBAN.finditer(text, first, last):
        length = _IBAN_LENGTHS.get(found[1])
        if length is None:
            continue
        # The pattern may have gone on into what follows.
        end, taken = found.start(), 0
        while end < found.end() and taken < length:
            taken += text[end].isalnum()
            end += 1
        number = re.sub("[ \u00a0-]", "", text[found.start() : end])
        if len(number) == length and not text[end : end + 1].isalnum() and is_iban(number):
            yield Span(IBAN, found.start(), end)


def is_iban(number: str) -> bool:
    """The remainder of ISO 7064, MOD 97-10, is 1, letters being 10 to 35."""
    return int("".join(str(int(character, 36)) for character in number[4:] + number[:4])) % 97 == 1


# Between digits of a phone number: spaces, dots, slashes, hyphens and dashes of any kind, brackets.
_GAP = "[ \u00a0\u202f./()\\-\u2010-\u2013]{0,3}"
_NOT_AFTER = "(?<![\\w+$\u20ac\u00a3#=\\\\])(?<![0-9][.,:/-])"
_NOT_BEFORE = "(?![\\w%\u00b0]|[.,:/-][0-9]| ?[$\u20ac\u00a3])"
_PHONES = (
    # With a country code.
    re.compile(rf"(?<![\w+])\+ ?\(?[1-9](?:{_GAP}[0-9]){{6,14}}(?![0-9])"),
    # After a word that says what it is.
    re.compile(
        r"(?<![^\W\d_])(?:tel(?:ephone|efon|efono|\u00e9fono|efone)?|t\u00e9l(?:\u00e9phone)?|phone|fax|mobile?|cell|call|"
        r"whatsapp|hotline|handy|telefax|sms|ph|\u0442\u0435\u043b(?:\u0435\u0444\u043e\u043d)?)"
        r"(?![^\W\d_])[.:]{0,2}\s{0,2}(?:us|now|at|on|number|no|nr)?[.:]{0,2}\s{0,2}"
        rf"(?P<number>\(?\+?\(?[0-9](?:{_GAP}[0-9]){{6,14}})(?![0-9]){_NOT_BEFORE}",
        re.IGNORECASE,
    ),
    # North America: area and exchange do not start with 0 or 1.
    re.compile(
        rf"(?:(?<![0-9+$])(?:1[ .-])?\([2-9][0-9]{{2}}\)[ \u00a0-]?"
        rf"|{_NOT_AFTER}(?:1[ .-])?[2-9][0-9]{{2}}(?P<gap>[ .-])"
        rf"|{_NOT_AFTER}[2-9][0-9]{{2}}/)[2-9][0-9]{{2}}(?(gap)(?P=gap)|[ .-])[0-9]{{4}}{_NOT_BEFORE}"
    ),
    # With a trunk prefix, in groups, as in much of the world.
    re.compile(
        rf"{_NOT_AFTER}(?<![0-9][ \u00a0])\(?0[1-9][0-9]{{0,4}}\)?(?:[ \u00a0./-][0-9]{{2,8}}){{1,4}}{_NOT_BEFORE}"
    ),
)
# A date or a span of years, or the code of a place in the United States.
_DATE_OR_PLACE = re.compile(
    r"[0-9]{5}-[0-9]{4}\Z|\(?(?:[0-3]?[0-9][./ -][01]?[0-9][./ -]|[0-9]{0,4}[./ -])?(?:19|20)[0-9]{2}(?![0-9])"
)
# What no country code of E.164 starts with; those of two digits and of three are told apart by their first two.
_NO_COUNTRY_CODES = frozenset({"28", "83", "89"})


def _phones(text: str, first: int, last: int) -> Iterator[Span]:
    """The surest way of writing one first; later ones may overlap those before."""
    checks = (_has_country_code, _is_named, _is_north_american, _has_trunk_prefix)
    for pattern, is_number in zip(_PHONES, checks, strict=True):
        group = "number" if "number" in pattern.groupindex else 0
        for found in pattern.finditer(text, first, last):
            start, end = found.span(group)
            if is_number(text, start, end):
                yield Span(PHONE, start, end)


def _digits(text: str) -> str:
    return "".join(filter(str.isdigit, text))


def _has_country_code(text: str, start: int, end: int) -> bool:
    digits = _digits(text[start:end])
    if digits[0] == "1":
        return len(digits) == 11 and digits[1] not in "01"
    if digits[0] == "7":
        return len(digits) == 11
    return digits[:2] not in _NO_COUNTRY_CODES


def _is_named(text: str, start: int, end: int) -> bool:
    return not _DATE_OR_PLACE.match(text[start:end]) and len(set(_digits(text[start:end]))) > 1


def _is_north_american(text: str, start: int, _end: int) -> bool:
    return not _is_identifier(text, start)


def _has_trunk_prefix(text: str, start: int, end: int) -> bool:
    number = text[start:end]
    return 9 <= len(_digits(number)) <= 12 and not _DATE_OR_PLACE.match(number) and not _is_identifier(text, start)
