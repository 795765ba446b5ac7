import pytest
from hypothesis import given
from hypothesis import strategies as st

from etl.kernels import mime


@pytest.mark.parametrize(
    ("head", "found"),
    [
        (b"%PDF-1.7\n", "application/pdf"),
        (b"%!PS-Adobe-3.0", "application/postscript"),
        (b"GIF87a..", "image/gif"),
        (b"GIF89a..", "image/gif"),
        (b"\x89PNG\r\n\x1a\n\0\0", "image/png"),
        (b"\xff\xd8\xff\xe0", "image/jpeg"),
        (b"RIFF\x10\0\0\0WEBPVP8 ", "image/webp"),
        (b"BM\x10\0\0\0\0\0\0\0", "image/bmp"),
        (b"\0\0\1\0\1\0", "image/x-icon"),
        (b"RIFF\x10\0\0\0WAVEfmt ", "audio/wave"),
        (b"RIFF\x10\0\0\0AVI LIST", "video/avi"),
        (b"ID3\3\0", "audio/mpeg"),
        (b"OggS\0\2", "application/ogg"),
        (b"\0\0\0\x18ftypmp42\0\0\0\0mp42isom", "video/mp4"),
        (b"\0\0\0\x18ftypqt  \0\0\0\0abcdmp41", "video/mp4"),
        (b"\0\0\0\x18ftypavif\0\0\0\0mif1", "image/avif"),
        (b"\x1aE\xdf\xa3\1\2", "video/webm"),
        (b"wOFF\0\1", "font/woff"),
        (b"wOF2\0\1", "font/woff2"),
        (b"\x1f\x8b\x08\0", "application/x-gzip"),
        (b"PK\3\4\x14\0", "application/zip"),
        (b"Rar!\x1a\7\0", "application/x-rar-compressed"),
        (b"Rar!\x1a\7\1\0", "application/x-rar-compressed"),
        (b"plain words", "text/plain"),
        (b"\xe2\x82\xac caf\xe9 \x1b$B", "text/plain"),
        (b"\xff\xfeh\0i\0", "text/plain"),
        (b"\1\2\3 no text", "application/octet-stream"),
        (b"words\0words", "application/octet-stream"),
    ],
)
def test_bytes_that_prove_a_type(head: bytes, found: str) -> None:
    for declared_type in (None, "application/octet-stream", "text/plain"):
        assert mime.sniff(head, declared_type) == found


@pytest.mark.parametrize(
    "start",
    ["<!DOCTYPE html>", "<!doctype HTML PUBLIC", "<html lang=de>", "<HEAD>", "<body class=a>", "<!-- a --><html>"],
)
@pytest.mark.parametrize("before", ["", "\n\t \r\f", "\ufeff", "\ufeff\n"])
@pytest.mark.parametrize("codec", ["utf-8", "utf-16-le", "utf-16-be"])
def test_a_page_is_known_whatever_it_was_declared(start: str, before: str, codec: str) -> None:
    head = f"{before}{start}<p>words of the page".encode(codec)
    for declared_type in (None, "text/plain", "text/html", "application/json", "image/jpeg"):
        assert mime.sniff(head, declared_type) == "text/html"


@pytest.mark.parametrize(
    "tag", ["<script>", "<iframe ", "<h1>", "<div\n", "<a ", "<title>", "<b>", "<br>", "<p>", "<!--"]
)
def test_a_tag_makes_a_page_of_what_was_not_declared_otherwise(tag: str) -> None:
    head = f"  {tag}...".encode()
    assert mime.sniff(head, None) == mime.sniff(head, "text/html") == "text/html"
    assert mime.sniff(head, "application/javascript") == "application/javascript"
    assert mime.sniff(f"{tag[:-1]}xyz".encode(), "text/css") == "text/css"


@pytest.mark.parametrize(
    ("head", "declared_type", "found"),
    [
        (b"<?xml version='1.0'?><!DOCTYPE html PUBLIC ''><html xmlns='...'>", "text/html", "application/xhtml+xml"),
        (b"\xef\xbb\xbf\n<?xml version='1.0'?>\n<rss version='2.0'>", "text/xml", "application/rss+xml"),
        (b"<?xml version='1.0'?><feed xmlns='...'>", None, "application/atom+xml"),
        (b"<?xml version='1.0'?><svg:svg >", "image/svg+xml", "image/svg+xml"),
        (b"<?xml version='1.0'?><rdf:RDF >", None, "application/rdf+xml"),
        (b"<?xml version='1.0'?><urlset>", "application/xml", "application/xml"),
        (b"<?xml version='1.0'?><urlset>", "text/html", "text/xml"),
        (b"<!-- made by a program --><svg>", "image/svg+xml", "image/svg+xml"),
    ],
)
def test_kinds_of_xml_are_told_apart_by_their_root(head: bytes, declared_type: str | None, found: str) -> None:
    assert mime.sniff(head, declared_type) == found


@pytest.mark.parametrize(
    ("head", "declared_type"),
    [
        (b"PK\3\4\x14\0", "application/epub+zip"),
        (b"\x1f\x8b\x08\0", "application/x-tar"),
        (b"no signature", "text/html"),
        (b"no signature", "application/x-own"),
        (b"\1\2\3", "application/x-own"),
        (b"a page with one \0 in the middle of it", "text/html"),
        (b"", "text/html"),
        (b"", None),
    ],
)
def test_what_bytes_do_not_prove_is_as_declared(head: bytes, declared_type: str | None) -> None:
    assert mime.sniff(head, declared_type) == declared_type


def test_binary_bytes_are_no_page() -> None:
    assert mime.sniff(bytes(range(32)) * 10, "text/html") == "application/octet-stream"


@pytest.mark.parametrize(
    ("content_type", "essence", "charset"),
    [
        ("text/html", "text/html", None),
        ("Text/HTML; Charset=UTF-8", "text/html", "UTF-8"),
        ("text/html;charset='iso-8859-1'", "text/html", "iso-8859-1"),
        ('text/html ; a=b ; charset = "windows-1252" ', "text/html", "windows-1252"),
        ("text/html, text/html; charset=koi8-r", "text/html", "koi8-r"),
        ("application/xhtml+xml; charset=", "application/xhtml+xml", None),
        ("charset=utf-8", None, "utf-8"),
        ("html", None, None),
        ("text/", None, None),
        ("", None, None),
        (None, None, None),
    ],
)
def test_content_type_headers_are_read(content_type: str | None, essence: str | None, charset: str | None) -> None:
    assert mime.declared(content_type) == (essence, charset)


@given(st.binary(max_size=2000), st.none() | st.text(max_size=20))
def test_no_bytes_raise_and_any_body_has_a_type(head: bytes, declared_type: str | None) -> None:
    found = mime.sniff(head, declared_type)
    assert found is not None or not head
    assert mime.sniff(head[: mime.SNIFF_BYTES], declared_type) == found
    mime.declared(declared_type)
