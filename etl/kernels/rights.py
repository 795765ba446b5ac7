"""What a page says about its use: directives for robots, reservation of text and data mining, licence.

Read from the HTTP head and the raw HTML in one pass each, without a parser: what stands in comments, scripts, styles
and text fields does not count, JSON-LD does. Nothing is decided here, and nothing is a legal opinion: `license_place`
says where the licence was found, and a page may show a licence that is that of one image.

Sources: the robots meta element and X-Robots-Tag as Google documents them, with the ``noai`` and ``noimageai`` that
DeviantArt began; the TDM Reservation Protocol of the W3C community group; ``rel=license`` and the addresses of
Creative Commons licences; the identifiers of SPDX by their addresses; IETF AIPREF for Content-Usage.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from html import unescape
from typing import NamedTuple
from urllib.parse import unquote

PLACES = ("rel", "meta", "jsonld", "link", "text")
"""Where a licence may be found, the surest place first: a link or Link header that says ``rel=license``, a meta
element of Dublin Core or the like, the ``license`` of JSON-LD, a link without rel, an address in the text."""

MAX_TAG_CHARACTERS = 4000
MAX_CANDIDATES = 200
MAX_VALUE_CHARACTERS = 2000
MAX_NAME_CHARACTERS = 200
MAX_HEADER_CHARACTERS = 8000
OTHER = "other"  # a licence whose address is of no list


class Rights(NamedTuple):
    """`robots` are directives for all crawlers, sorted; `agents` those for one, as ``googlebot: noindex``.

    `tdm_reservation` is 1 where one of head and page reserves text and data mining, 0 where one says that it does
    not, else None. `usage` is Content-Usage, such as ``train-ai=n``. `license` is ``cc-by-sa-4.0``, ``cc-by`` where no
    version is told, ``cc0-1.0`` or ``publicdomain``; of a Link header also an SPDX expression in small letters, such as
    ``mit or apache-2.0``, or `OTHER`. Of several at the surest place it is the one that allows least. `licenses` are
    all that were found.
    """

    robots: tuple[str, ...]
    agents: tuple[str, ...]
    tdm_reservation: int | None
    tdm_policy: str | None
    usage: tuple[str, ...]
    license: str | None
    license_url: str | None
    license_place: str | None
    licenses: tuple[str, ...]


class _License(NamedTuple):
    id: str
    url: str | None
    place: str


def of_page(html: str, headers: Mapping[str, str] | None = None) -> Rights:
    """What `html` and the response `headers` say. Never raises; linear in the length of the page.

    Names of headers are in lower case; a header that was sent several times has a line for each.
    """
    return _said(headers or {}, _metas(html), _linked(html))


def of_text(text: str, headers: Mapping[str, str] | None = None) -> Rights:
    """The same of a plain text, where elements of HTML are no more than text: the headers count, and addresses."""
    return _said(headers or {}, (), (license for _, license in _addresses(text)))


def _said(headers: Mapping[str, str], metas: Iterable[tuple[str, str]], licenses: Iterable[_License]) -> Rights:
    headers = {name: value[:MAX_HEADER_CHARACTERS] for name, value in headers.items()}
    said: set[tuple[str, str]] = set()  # (crawler, or "" for all; directive)
    reservations = _flags(headers.get("tdm-reservation", "").split("\n"))
    policies = [value for value in headers.get("tdm-policy", "").split("\n") if value]
    found = list(_in_link_header(headers.get("link", "")))
    for line in headers.get("x-robots-tag", "").split("\n"):
        said.update(_robots_header(line))
    for name, content in metas:
        if name == "tdm-reservation":
            reservations += _flags([content])
        elif name == "tdm-policy":
            policies.append(content)
        elif name in _LICENSE_NAMES:
            found += _licenses_named(content)
        elif name == "robots":
            said.update(("", directive) for directive in _directives(content))
        elif _AGENT.fullmatch(name):
            said.update((name, directive) for directive in _directives(content))
    found += licenses
    best = _best(found)
    return Rights(
        robots=tuple(sorted(directive for agent, directive in said if not agent)),
        agents=tuple(sorted(f"{agent}: {directive}" for agent, directive in said if agent)),
        tdm_reservation=max(reservations, default=None),
        tdm_policy=_clean(policies[0]) if policies else None,
        usage=tuple(sorted({part for line in headers.get("content-usage", "").split("\n") for part in usages(line)})),
        license=best.id if best else None,
        license_url=best.url if best else None,
        license_place=best.place if best else None,
        licenses=tuple(sorted({license.id for license in found})),
    )


def named(statement: str) -> str | None:
    """The Creative Commons licence that a statement of rights is about, such as cc-by-4.0."""
    best = _best(_licenses_named(statement))
    return best.id if best else None


def against_training(found: Rights) -> bool:
    """Whether a directive for all crawlers, or a usage preference, is against training models on the page."""
    return any(map(_AGAINST_TRAINING.fullmatch, found.robots)) or is_against_training(found.usage)


def is_against_training(usage: Iterable[str]) -> bool:
    """Whether one of some preferences, such as ``train-ai=n``, is against training models."""
    return any(
        key in _TRAINING_USES and value.startswith("n") for key, _, value in (use.partition("=") for use in usage)
    )


def usages(line: str) -> Iterator[str]:
    """The preferences of a Content-Usage header, ``key=value`` in lower case without spaces."""
    for part in line.lower()[:MAX_VALUE_CHARACTERS].split(","):
        key, equals, value = (piece.strip() for piece in part.partition("="))
        if key and equals and value:
            yield f"{key}={value}"


def headers(lines: str | None) -> dict[str, str]:
    """The headers that ``captures.http_rights`` holds, by name in lower case."""
    found: dict[str, str] = {}
    for line in (lines or "").split("\n"):
        name, colon, value = line.partition(":")
        if colon:
            name, value = name.strip().lower(), value.strip()
            found[name] = f"{found[name]}\n{value}" if name in found else value
    return found


_DIRECTIVES = frozenset(
    {
        "all",
        "follow",
        "index",
        "indexifembedded",
        "noai",
        "noarchive",
        "nocache",
        "nofollow",
        "noimageai",
        "noimageindex",
        "noindex",
        "noml",
        "noodp",
        "nopagereadaloud",
        "nosnippet",
        "notranslate",
        "noydir",
        "nositelinkssearchbox",
        "unavailable_after",
    }
)
_DIRECTIVE = re.compile(r"(max-snippet|max-image-preview|max-video-preview|unavailable_after)\s*:\s*([^,\s]+)|[\w-]+")
# Directives against training go by several names.
_AGAINST_TRAINING = re.compile(r"no-?(?:ai|imageai|ml|llm|train)[a-z-]{0,20}")
# Keys of Content-Usage in the drafts of AIPREF, and that of Content-Signal.
_TRAINING_USES = frozenset({"train-ai", "train-genai", "ai-train", "genai"})
_AGENT = re.compile(
    r"[\w.-]{0,40}(?:bot|spider|crawler)(?:-(?:news|images?|videos?|mobile|extended))?|slurp|teoma|yandex|"
    r"google-extended|applebot-extended|anthropic-ai|claude-web|cohere-ai|omgili|mediapartners-google"
)
_SCOPE = re.compile(r"\s*([\w.*-]{2,40})\s*:(?!//)\s*(.*)", re.DOTALL)


def _directives(content: str) -> Iterator[str]:
    """Directives that are known, in lower case; ``none`` is noindex and nofollow."""
    for match in _DIRECTIVE.finditer(content.lower()[:MAX_VALUE_CHARACTERS]):
        name = match[1] or match[0]
        if name == "none":
            yield from ("nofollow", "noindex")
        elif match[1] and name != "unavailable_after":
            yield f"{name}:{match[2]}"
        elif name in _DIRECTIVES or _AGAINST_TRAINING.fullmatch(name):
            yield name


def _robots_header(line: str) -> Iterator[tuple[str, str]]:
    """(crawler, directive) of one X-Robots-Tag; a name with a colon is whom all that follows is for."""
    agent = ""
    for part in line.lower()[:MAX_VALUE_CHARACTERS].split(","):
        scope = _SCOPE.fullmatch(part)
        if scope and not scope[1].startswith(("max-", "unavailable_after")):
            agent = "" if scope[1] in ("*", "robots") else scope[1]
            part = scope[2]
        for directive in _directives(part):
            yield agent, directive


def _flags(values: Iterable[str]) -> list[int]:
    return [int(value.strip()) for value in values if value.strip() in ("0", "1")]


# What a tag has before its end. Quotes count only after an equals sign. Nothing can follow it that makes it fail, so it
# is never tried again.
_IN_TAG = r"[^>=]*(?:=\s*(?:\"[^\"]{0,4000}\"|'[^']{0,4000}')?[^>=]*){0,40}"
_META = re.compile(rf"<[mM][eE][tT][aA][\s/]+({_IN_TAG})")
_TAG = re.compile(rf"<{_IN_TAG}")
# A name without a value matches too, so that no name is begun again from its second letter.
_ATTRIBUTE = re.compile(r"([^\s\"'>/=]+)(?:\s*=\s*(?:\"([^\"]*)\"|'([^']*)'|([^\s\"'>]+)))?")
_LICENSE_NAMES = frozenset(
    {
        "license",
        "licence",
        "rights",
        "copyright",
        "dc.rights",
        "dc.license",
        "dc.rights.license",
        "dc.rights.uri",
        "dc:rights",
        "dc:license",
        "dcterms.rights",
        "dcterms.license",
        "dcterms:rights",
        "dcterms:license",
        "dct:license",
        "cc:license",
        "citation_license",
    }
)


def _may_tell(tag: str) -> bool:
    """Whether a meta element may say something of rights: one of the two dozen of a page does. The others cost this."""
    return (
        "bot" in tag
        or "tdm-" in tag
        or "licen" in tag
        or "right" in tag
        or "spider" in tag
        or "crawler" in tag
        or "slurp" in tag
        or "teoma" in tag
        or "yandex" in tag
        or "-ai" in tag
        or "claude" in tag
        or "omgili" in tag
        or "partners" in tag
        or "extended" in tag
    )


def _metas(html: str) -> Iterator[tuple[str, str]]:
    """Name in lower case and content of the meta elements that may say something of rights."""
    kept = 0
    skipped = _Skipped(html)
    for match in _META.finditer(html):
        if not _may_tell(match[1].lower()):
            continue
        attributes = _attributes(match[1])
        content = attributes.get("content")
        name = attributes.get("name") or attributes.get("property") or attributes.get("http-equiv") or ""
        if content is None or not name or skipped.span(match.start()):
            continue
        yield name.strip().lower(), content
        kept += 1
        if kept == MAX_CANDIDATES:
            return


def _attributes(tag: str) -> dict[str, str]:
    """Attributes by name in lower case, the first of each; entities are the characters that they stand for."""
    found: dict[str, str] = {}
    for name, *values in _ATTRIBUTE.findall(tag[: 2 * MAX_TAG_CHARACTERS]):
        value = "".join(values)
        found.setdefault(name.lower(), unescape(value) if "&" in value else value)
    return found


class _Skipped:
    """Where comments, scripts, styles and text fields are, found as far as it was asked for."""

    def __init__(self, html: str) -> None:
        self._html = html
        self._at = 0
        self._spans: list[tuple[int, int, bool]] = []  # start, end, whether it is JSON-LD
        self._last = 0

    def span(self, position: int) -> tuple[int, int, bool] | None:
        """The part around `position` that is no HTML: start, end, and whether it is JSON-LD. Ask from front to back."""
        while self._at <= position and self._next():
            pass
        while self._last < len(self._spans) and self._spans[self._last][1] <= position:
            self._last += 1
        found = self._spans[self._last] if self._last < len(self._spans) else None
        return found if found and found[0] <= position else None

    def _next(self) -> bool:
        html = self._html
        match = _RAW.search(html, self._at)
        if match is None:
            self._at = len(html) + 1
            return False
        name = match[1]
        if name is None:
            # A comment may end as it begins: <!--> and <!---> are whole.
            end = _COMMENT_END.search(html, match.end() - 2)
            self._add(match.start(), end.start() if end else len(html), False)
        else:
            tag_end = html.find(">", match.end() - 1)
            tag_end = tag_end if tag_end >= 0 else len(html)
            is_data = name.lower() == "script" and "ld+json" in html[match.end() : tag_end][:MAX_TAG_CHARACTERS].lower()
            end = _ENDS[name.lower()].search(html, tag_end)
            self._add(match.start(), end.start() if end else len(html), is_data)
        return True

    def _add(self, start: int, end: int, is_data: bool) -> None:
        self._spans.append((start, end, is_data))
        self._at = max(end, start + 1)


def _caseless(word: str) -> str:
    # IGNORECASE would keep `re` from looking for the "<" first, which is what makes it fast.
    return "".join(f"[{letter}{letter.upper()}]" for letter in word)


_RAW_ELEMENTS = ("script", "style", "textarea", "title", "xmp", "iframe", "noembed", "noframes")
_RAW = re.compile(rf"<(?:!--|({'|'.join(map(_caseless, _RAW_ELEMENTS))})[\s/>])")
_ENDS = {name: re.compile(rf"</{_caseless(name)}") for name in _RAW_ELEMENTS}
_COMMENT_END = re.compile(r"--!?>")

_DOMAIN = "reativecommons.org"  # a capital at its start is met, one inside is not
_PATH = re.compile(
    r"reativecommons\.org/(licenses|publicdomain)/([a-z+-]{1,24})(?:/(\d\.\d))?(?=[/\"'\s<>?#&),.;\]]|$)"
)
_LICENSE_CODE = re.compile(r"(?:by|nc|nd|sa)(?:-(?:by|nc|nd|sa))*|(?:nc-)?sampling\+?|devnations")
_KEY_BEFORE = re.compile(
    r'"(?:license|sdlicense|usageinfo)"\s*:\s*(?:\[\s*)?(?:"[^"]*"\s*,\s*)*(?:\{[^{}]*)?"?[^"\s]*$'
)
_LINK_TAG = re.compile(r"<(a|link|area)[\s/]", re.IGNORECASE)
_LINK_HEADER = re.compile(r"<([^<>]{1,2000})>([^<]{0,400})")
_SPDX = re.compile(r"https?://spdx\.org/licenses/([^/?#]+?)(?:\.html|\.json)?")
_NAME = re.compile(r"\bcc0\b|\bcc[ _-]?((?:by|nc|nd|sa)(?:[ _-](?:by|nc|nd|sa))*)\b(?:[ _-]?v?(\d\.\d))?")
_LONG_NAME = re.compile(
    r"creative commons\W{0,3}((?:\W*(?:attribution|non-?commercial|share-?alike|no-?deriv(?:ative)?s?(?: works)?|"
    r"licen[sc]e))+)\D{0,20}(\d\.\d)?"
)
_LONG_PARTS = (("attribution", "by"), ("commercial", "nc"), ("deriv", "nd"), ("alike", "sa"))


def _linked(html: str) -> Iterator[_License]:
    """Addresses of Creative Commons licences in links, JSON-LD and text."""
    skipped = _Skipped(html)
    for at, license in _addresses(html):
        place = _place(html, at, skipped)
        if place:
            yield license._replace(place=place)


def _addresses(text: str) -> Iterator[tuple[int, _License]]:
    """Licences of Creative Commons whose addresses are in a text, and where."""
    at = text.find(_DOMAIN)
    for _ in range(MAX_CANDIDATES):
        if at < 0:
            return
        license = _at_address(text[at : at + 160])
        if license:
            yield at, license
        at = text.find(_DOMAIN, at + 1)


def _at_address(text: str) -> _License | None:
    """The licence that an address names, which begins with `_DOMAIN`; slashes may be written for JSON or HTML."""
    if "\\" in text:
        text = text.replace("\\/", "/").replace("\\u002f", "/").replace("\\u002F", "/")
    if "&" in text:
        text = unescape(text)
    match = _PATH.match(text.lower())
    if not match:
        return None
    kind, code, version = match.groups()
    if kind == "publicdomain" or code == "publicdomain":
        if code == "zero":
            name = f"cc0-{version or '1.0'}"
        elif code in ("mark", "publicdomain", "certification"):
            name = "publicdomain"
        else:
            return None
    elif _LICENSE_CODE.fullmatch(code):
        name = _id(code, version)
    else:
        return None
    return _License(name, f"https://c{match[0]}/", "text")


def _id(code: str, version: str | None) -> str:
    """Such as cc-by-nc-sa-4.0; the first versions had the parts in another order."""
    parts = sorted(re.split(r"[ _-]", code))  # which is the order they have today: by, nc, nd, sa
    return "-".join(["cc", *parts, *([version] if version else [])])


def _place(html: str, at: int, skipped: _Skipped) -> str | None:
    """Which of `PLACES` an address at `at` is in; None where it says nothing of the page."""
    span = skipped.span(at)
    if span:
        before = html[max(span[0], at - 300) : at].lower()
        return "jsonld" if span[2] and _KEY_BEFORE.search(before) else None
    start = html.rfind("<", max(0, at - MAX_TAG_CHARACTERS), at)
    tag = _TAG.match(html, start, start + 2 * MAX_TAG_CHARACTERS) if start >= 0 else None
    if tag is None or tag.end() <= at:
        return "text"
    attributes = _attributes(tag[0])
    if _LINK_TAG.match(html, start):
        if _DOMAIN not in attributes.get("href", ""):
            return None
        said = f"{attributes.get('rel', '')} {attributes.get('itemprop', '')} {attributes.get('property', '')}".lower()
        return "rel" if "license" in re.split(r"[\s:]", said) else "link"
    return None  # meta elements are read elsewhere, and an image is no licence


def _licenses_named(content: str) -> list[_License]:
    """Licences in a text about rights: by address, short name or long name."""
    text = content[:MAX_VALUE_CHARACTERS]
    found = [license._replace(place="meta") for _, license in _addresses(text)]
    if found:
        return found
    text = text.lower()
    if match := _NAME.search(text):
        return [_License(_id(match[1], match[2]) if match[1] else "cc0-1.0", None, "meta")]
    if match := _LONG_NAME.search(text):
        code = "-".join(part for word, part in _LONG_PARTS if word in match[1])
        if code:
            return [_License(_id(code, match[2]), None, "meta")]
    return []


def _in_link_header(lines: str) -> Iterator[_License]:
    for address, parameters in _LINK_HEADER.findall(lines):
        if re.search(r"rel\s*=\s*\"?[^\";]*\blicense\b", parameters.lower()):
            at = address.find(_DOMAIN)
            license = (_at_address(address[at:]) if at >= 0 else None) or _of_no_page(address)
            if license:
                yield license._replace(place="rel")


def _of_no_page(address: str) -> _License | None:
    """The licence by another address than those of Creative Commons: by name where SPDX has it."""
    match = _SPDX.fullmatch(address)
    name = " ".join(unquote(match[1]).lower().split())[:MAX_NAME_CHARACTERS] if match else OTHER
    return _License(name, address, "rel") if name and address.startswith("http") else None


def _best(found: Sequence[_License]) -> _License | None:
    """The licence at the surest place; of several there the one that allows least, so that no use is one too many."""
    if not found:
        return None
    place = min((license.place for license in found), key=PLACES.index)
    return min((license for license in found if license.place == place), key=lambda license: _allows(license.id))


def _allows(license: str) -> int:
    """How much a licence allows: what nobody knows and nothing but copies first, everything last."""
    parts = license.split("-")
    if license == OTHER:
        return 0
    if license.startswith(("cc0", "publicdomain")):
        return 16
    return 8 - 4 * ("nc" in parts) - 2 * ("nd" in parts) - ("sa" in parts)


def _clean(value: str) -> str:
    return value.strip()[:MAX_VALUE_CHARACTERS]
