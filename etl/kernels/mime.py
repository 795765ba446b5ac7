"""The MIME type of a body by its first bytes, after the WHATWG MIME Sniffing Standard.

The tables are those of sections 4, 6 and 7 of the standard, read for an archive and not for a
browser: there is no user to protect, so a type that the bytes prove wins over the one declared.
"""

import re

SNIFF_BYTES = 1445  # section 5.2: how much a resource header may have

# Section 4: bytes that no text has.
_BINARY = re.compile(rb"[\x00-\x08\x0b\x0e-\x1a\x1c-\x1f]")
_DECLARED = re.compile(r"[!#$%&'*+.^_`|~0-9a-z-]+/[!#$%&'*+.^_`|~0-9a-z-]+")
_CHARSET = re.compile(r"""charset\s*=\s*["']?\s*([^\s"';,]+)""", re.IGNORECASE)

# Section 7.1. Each is followed by a tag-terminating byte, except the comment.
_PAGE = re.compile(
    rb"(?:<!--.*?-->[\t\n\x0c\r ]*)*<(?:!DOCTYPE HTML|HTML|HEAD|BODY)[\t\n\x0c\r >]", re.IGNORECASE | re.DOTALL
)
_MARKUP = re.compile(rb"<(?:SCRIPT|IFRAME|H1|DIV|FONT|TABLE|A|STYLE|TITLE|B|BR|P)[\t\n\x0c\r >]|<!--", re.IGNORECASE)
# XHTML, feeds and drawings all begin as XML; the name of the first element tells them apart.
_FIRST_ELEMENT = re.compile(rb"<([A-Za-z_][\w.-]*:)?(html|rss|feed|svg|RDF)[\s>/]", re.IGNORECASE)
_XML_ROOTS = {
    b"html": "application/xhtml+xml",
    b"rss": "application/rss+xml",
    b"feed": "application/atom+xml",
    b"svg": "image/svg+xml",
    b"rdf": "application/rdf+xml",
}

# Sections 6.1, 6.2, 6.3 and 7.1.
_SIGNATURES = (
    (rb"%PDF-", "application/pdf"),
    (rb"%!PS-Adobe-", "application/postscript"),
    (rb"\x00\x00\x01\x00", "image/x-icon"),
    (rb"\x00\x00\x02\x00", "image/x-icon"),
    (rb"BM.{4}\x00\x00\x00\x00", "image/bmp"),
    (rb"GIF8[79]a", "image/gif"),
    (rb"RIFF.{4}WEBPVP", "image/webp"),
    (rb"\x89PNG\r\n\x1a\n", "image/png"),
    (rb"\xff\xd8\xff", "image/jpeg"),
    (rb"FORM.{4}AIFF", "audio/aiff"),
    (rb"ID3", "audio/mpeg"),
    (rb"OggS\x00", "application/ogg"),
    (rb"MThd\x00\x00\x00\x06", "audio/midi"),
    (rb"RIFF.{4}AVI ", "video/avi"),
    (rb"RIFF.{4}WAVE", "audio/wave"),
    (rb".{4}ftypavif", "image/avif"),
    (rb".{4}ftyp(?:.{8}(?:.{4}){0,30}?)?(?:mp4|isom|iso2|avc1|M4V)", "video/mp4"),
    (rb"\x1aE\xdf\xa3", "video/webm"),
    (rb"\x00\x01\x00\x00", "font/ttf"),
    (rb"OTTO", "font/otf"),
    (rb"ttcf", "font/collection"),
    (rb"wOFF", "font/woff"),
    (rb"wOF2", "font/woff2"),
    (rb"\x1f\x8b\x08", "application/x-gzip"),
    (rb"PK\x03\x04", "application/zip"),
    (rb"Rar!\x1a\x07(?:\x00|\x01\x00)", "application/x-rar-compressed"),
)
_SIGNATURE = re.compile(b"|".join(b"(%s)" % pattern for pattern, _ in _SIGNATURES), re.DOTALL)

# What a file is packed in; what is in the pack, only the server may know.
_CONTAINERS = frozenset({"application/zip", "application/x-gzip", "application/ogg", "video/webm"})
_GENERIC = frozenset({None, "unknown/unknown", "application/unknown", "*/*", "application/octet-stream", "text/plain"})
_TEXT = re.compile(r"text/.*|.*\+(?:xml|json)|application/(?:json|xml|javascript|x-javascript|ecmascript|x-ndjson)")

# Declared as text, a body may have this share of bytes that no text has before it is called binary.
MAX_BINARY_RATIO = 0.1


def declared(content_type: str | None) -> tuple[str | None, str | None]:
    """MIME type in lower case and charset of a Content-Type header; None for what it does not say."""
    if not content_type:
        return None, None
    essence = content_type.partition(";")[0].split(",")[0].strip().lower()
    charset = _CHARSET.search(content_type)
    return (essence if _DECLARED.fullmatch(essence) else None), (charset.group(1) if charset else None)


def sniff(head: bytes, declared_type: str | None) -> str | None:
    """The MIME type of a body that begins with `head`, of which `SNIFF_BYTES` are enough.

    What the bytes prove wins; where they prove nothing it is `declared_type`, which may be None
    only for an empty body.
    """
    if not head:
        return declared_type
    raw, is_generic = head[:SNIFF_BYTES], declared_type in _GENERIC
    text = _as_text(raw)
    if found := _markup_type(text.lstrip(b"\t\n\x0c\r "), declared_type):
        return found
    if match := _SIGNATURE.match(raw):
        found = _SIGNATURES[(match.lastindex or 1) - 1][1]
        return declared_type if found in _CONTAINERS and not _is_text(declared_type) and not is_generic else found
    binary = len(_BINARY.findall(text))
    if is_generic:
        return "application/octet-stream" if binary else "text/plain"
    if _is_text(declared_type) and binary > MAX_BINARY_RATIO * len(text):
        return "application/octet-stream"
    return declared_type


def is_text(head: bytes) -> bool:
    """Whether the first bytes could be text: section 7.2 of the standard."""
    return not _BINARY.search(_as_text(head[:SNIFF_BYTES]))


def _is_text(mime_type: str | None) -> bool:
    return mime_type is not None and bool(_TEXT.fullmatch(mime_type))


def _as_text(head: bytes) -> bytes:
    """The bytes without a byte order mark, and UTF-16 as UTF-8."""
    if head.startswith(b"\xef\xbb\xbf"):
        return head[3:]
    if head.startswith((b"\xff\xfe", b"\xfe\xff")):
        return head.decode("utf-16", "ignore").encode()
    for codec, first in (("utf-16-le", 1), ("utf-16-be", 0)):
        # ASCII in UTF-16 has a zero in every second byte and nowhere else.
        if head[first : first + 16 : 2] == bytes(8) and b"\0" not in head[1 - first : 17 - first : 2]:
            return head.decode(codec, "ignore").encode()
    return head


def _markup_type(text: bytes, declared_type: str | None) -> str | None:
    """HTML or a kind of XML, or None. A style sheet or script may begin like HTML, so weak signs need a weak claim."""
    is_xml = declared_type is not None and (declared_type.endswith("+xml") or declared_type.endswith("/xml"))
    if text.startswith(b"<?xml"):
        root = _FIRST_ELEMENT.search(text)
        if root:
            return _XML_ROOTS[root.group(2).lower()]
        return declared_type if is_xml else "text/xml"
    if is_xml:
        return None
    weak_claim = declared_type in _GENERIC or declared_type == "text/html"
    return "text/html" if _PAGE.match(text) or (weak_claim and _MARKUP.match(text)) else None
