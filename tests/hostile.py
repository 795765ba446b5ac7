"""Pages and records that are built to hang, crash or bloat what reads them, for tests of containment.

`PAGES` gives payloads of pages, `RECORDS` WARC records. Each is a function of a size in bytes, about how long the
payload is, or for bombs how long what it decodes to would be; nothing is stored. A page of 200 MB is
``PAGES["one line"](200_000_000)``, and a million nested tags are ``PAGES["nested tags"](5_000_000)``. The docstring
of each says what it is aimed at.
"""

from __future__ import annotations

import itertools
import zlib
from collections.abc import Callable

import brotli

Build = Callable[[int], bytes]

_HEAD = b"<!doctype html><html><head><title>A page</title></head><body>"
_TEXT = b"<p>All human beings are born free and equal in dignity and rights.</p>"
_END = b"</body></html>"


def _page(content: bytes) -> bytes:
    return _HEAD + _TEXT + content + _END


def _fill(part: bytes, size: int) -> bytes:
    return part * max(1, size // len(part))


def nested_tags(size: int) -> bytes:
    """Elements in elements that never end: recursion, and searches for the parent of a parent."""
    return _page(_fill(b"<div>", size))


def nested_and_closed(size: int) -> bytes:
    """The same with every end tag, so that the whole depth is a tree to be freed, often by recursion."""
    depth = max(1, size // 11)
    return _page(b"<div>" * depth + b"deep" + b"</div>" * depth)


def nested_formatting(size: int) -> bytes:
    """Misnested formatting: the adoption agency and the list of active formatting elements are the parser's square."""
    return _page(_fill(b"<b><i><a href=x><nobr></b></i>", size))


def nested_tables(size: int) -> bytes:
    """Tables in cells of tables, with text where none may be, which is moved in front of the table."""
    return _page(_fill(b"<table>x<tr><td>", size))


def wide_table(size: int) -> bytes:
    """Cells that span a billion columns and rows: a renderer that fills a grid has no end."""
    return _page(b"<table>" + _fill(b"<tr><td colspan=1000000000 rowspan=1000000000>cell", size) + b"</table>")


def one_line(size: int) -> bytes:
    """Text without a newline: whatever is done by the line is done to all of it."""
    return _page(b"<p>" + _fill(b"word ", size) + b"</p>")


def one_word(size: int) -> bytes:
    """Text without a space: whatever is done by the word is done to all of it."""
    return _page(b"<p>" + b"a" * size + b"</p>")


def newlines(size: int) -> bytes:
    """Nothing but ends of lines inside of a paragraph."""
    return _page(b"<p>" + b"\r\n" * (size // 2) + b"</p>")


def spaces(size: int) -> bytes:
    r"""Spaces before no end of a line: ``\s+$`` tries from each of them."""
    return _page(b"<p>a" + b" " * size + b"b</p>")


def entities(size: int) -> bytes:
    """References to characters, some of which stand for two, and to nothing known."""
    return _page(_fill(b"&amp;amp;&#x41;&NotEqualTilde;&unknown;&ampamp", size))


def entity_bomb(size: int) -> bytes:
    """The billion laughs: entities of entities in a document type, for readers that are XML at heart; 90 kB at most."""
    names = [f"e{number}" for number in range(max(2, min(size // 90, 1000)))]
    lines = ['<!ENTITY e0 "ha">']
    lines += [f'<!ENTITY {b} "{f"&{a};" * 10}">' for a, b in itertools.pairwise(names)]
    return f"<!DOCTYPE html [{''.join(lines)}]><html><body>&{names[-1]};</body></html>".encode()


def surrogates(size: int) -> bytes:
    """References to lone surrogates and to numbers that are no characters."""
    return _page(_fill(b"&#xD800;&#xDFFF;&#55296;&#x110000;&#99999999999999999999;&#0;", size))


def nul_bytes(size: int) -> bytes:
    """NUL in text, names and values, which ends strings in C."""
    return _page(_fill(b"<p\0 cl\0ass='a\0b'>a\0b</\0p>\0", size))


def broken_utf8(size: int) -> bytes:
    """Overlong forms, cut sequences, surrogates as bytes and bytes that UTF-8 never has, declared as UTF-8."""
    bad = b"\xc0\xaf\xe0\x80\xaf\xf0\x82\x82\xac\xed\xa0\x80\xf8\x88\x80\x80\x80\xff\xfe\xe2\x82 a"
    return b'<meta charset="utf-8">' + _page(_fill(bad, size))


def broken_multibyte(size: int) -> bytes:
    """Every second byte leads nowhere in Shift_JIS, and escapes of ISO-2022 shift back and forth."""
    return b'<meta charset="shift_jis">' + _page(_fill(b"\x81\x20\xfc\x00\x1b$B\x1b(B\x1b(J\x8e\xff", size))


def utf16_as_utf8(size: int) -> bytes:
    """UTF-16 without a byte order mark, with lone surrogates, declared as UTF-8."""
    return b'<meta charset="utf-8">' + _fill("a\u4e00".encode("utf-16-le") + b"\x00\xd8", size)


def many_charsets(size: int) -> bytes:
    """Declarations of encodings, none of them real."""
    return _page(_fill(b'<meta charset="x-klingon">', size))


def attributes(size: int) -> bytes:
    """One tag with very many attributes: whoever looks whether a name was there before does it for each."""
    each = (b" a%d=x" % number for number in range(max(1, size // 9)))
    return _page(b"<p" + b"".join(each) + b">text</p>")


def one_attribute(size: int) -> bytes:
    """One class attribute of very many names."""
    return _page(b'<div class="' + _fill(b"name ", size) + b'">text</div>')


def quotes(size: int) -> bytes:
    """Quotes that open and never fit."""
    return _page(b"<p title=" + _fill(b"\"'", size))


def unclosed_tags(size: int) -> bytes:
    """Tags that begin and do not end: a search for the end from each of them is the square."""
    return _page(_fill(b"<a ", size))


def brackets(size: int) -> bytes:
    """Nothing but the first character of a tag."""
    return _page(b"<" * size)


def equals_signs(size: int) -> bytes:
    """Metas of equals signs and quotes, for patterns that take attributes apart."""
    return _page(_fill(b"<meta name= ='=\" content==", size))


def comments(size: int) -> bytes:
    """Comments that begin in comments and never end."""
    return _page(_fill(b"<!-- - -- ", size))


def scripts(size: int) -> bytes:
    """Scripts that close themselves, which in HTML they cannot, so that each swallows the next."""
    return _page(_fill(b"<script/><style/><script src=x /></scrip>", size))


def json_ld(size: int) -> bytes:
    """JSON-LD of arrays in arrays that never end."""
    return _page(b'<script type="application/ld+json">{"@graph":' + b"[" * size + b"</script>")


def data_uri(size: int) -> bytes:
    """An image in the page."""
    return _page(b'<img src="data:image/png;base64,' + _fill(b"iVBORw0KGgo", size) + b'">')


def regex_bait(size: int) -> bytes:
    """Near matches of e-mail addresses, URLs, dates and numbers that go on and never become one."""
    quarter = size // 4
    bait = b"a." * (quarter // 2) + b"@ " + b"http://" + b"a/" * (quarter // 2) + b" " + b"1-" * (quarter // 2) + b"x "
    return _page(b"<p>" + bait + b"(" * quarter + b"</p>")


def many_paragraphs(size: int) -> bytes:
    """Short paragraphs: what compares each block with the others does it often."""
    return _page(_fill(b"<p>a</p>", size))


def many_links(size: int) -> bytes:
    """Links and nothing else."""
    return _page(_fill(b'<a rel="license" href="https://creativecommons.org/licenses/by/4.0/">', size))


def many_selects(size: int) -> bytes:
    """Options, which may be nested and close each other."""
    return _page(b"<select>" + _fill(b"<optgroup><option>a", size))


def templates(size: int) -> bytes:
    """Templates in templates: each is a document of its own."""
    return _page(_fill(b"<template><svg><foreignObject>", size))


def binary(size: int) -> bytes:
    """All bytes in turn, called a page."""
    return _fill(bytes(range(256)), size)


PAGES: dict[str, Build] = {
    build.__name__.replace("_", " "): build
    for build in (
        nested_tags,
        nested_and_closed,
        nested_formatting,
        nested_tables,
        wide_table,
        one_line,
        one_word,
        newlines,
        spaces,
        entities,
        entity_bomb,
        surrogates,
        nul_bytes,
        broken_utf8,
        broken_multibyte,
        utf16_as_utf8,
        many_charsets,
        attributes,
        one_attribute,
        quotes,
        unclosed_tags,
        brackets,
        equals_signs,
        comments,
        scripts,
        json_ld,
        data_uri,
        regex_bait,
        many_paragraphs,
        many_links,
        many_selects,
        templates,
        binary,
    )
}


def record(body: bytes, *fields: str) -> bytes:
    """A WARC record of a response."""
    head = "".join(f"{line}\r\n" for line in ("HTTP/1.1 200 OK", "Content-Type: text/html", *fields, "")).encode()
    header = (
        "WARC/1.0\r\nWARC-Type: response\r\nWARC-Date: 2024-02-21T10:20:30Z\r\n"
        "WARC-Target-URI: https://hostile.example/\r\nContent-Type: application/http; msgtype=response\r\n"
        f"Content-Length: {len(head) + len(body)}\r\n\r\n"
    )
    return header.encode() + head + body + b"\r\n\r\n"


def _zeros(size: int, wbits: int) -> bytes:
    """`size` zeros, compressed a part at a time, so that the bomb does not go off where it is built."""
    deflate = zlib.compressobj(9, zlib.DEFLATED, wbits)
    parts = [deflate.compress(bytes(min(1 << 20, size - at))) for at in range(0, size, 1 << 20)]
    return b"".join([*parts, deflate.flush()])


def _gzip(data: bytes) -> bytes:
    deflate = zlib.compressobj(9, zlib.DEFLATED, 31)
    return deflate.compress(data) + deflate.flush()


def gzip_bomb(size: int) -> bytes:
    """A body of zeros, a thousandth as long in gzip."""
    return record(_zeros(size, 31), "Content-Encoding: gzip")


def deflate_bomb(size: int) -> bytes:
    """The same as raw deflate."""
    return record(_zeros(size, -15), "Content-Encoding: deflate")


def brotli_bomb(size: int) -> bytes:
    """The same in Brotli, where a megabyte is a dozen bytes."""
    compressor = brotli.Compressor(quality=5)
    parts = [compressor.process(bytes(min(1 << 20, size - at))) for at in range(0, size, 1 << 20)]
    return record(b"".join([*parts, compressor.finish()]), "Content-Encoding: br")


def bomb_in_a_bomb(size: int) -> bytes:
    """gzip in gzip: the outer layer looks harmless."""
    return record(_gzip(_zeros(size, 31)), "Content-Encoding: gzip, gzip")


def tiny_chunks(size: int) -> bytes:
    """A chunked body of chunks of one byte."""
    return record(_fill(b"1\r\na\r\n", size) + b"0\r\n\r\n", "Transfer-Encoding: chunked")


def header_lines(size: int) -> bytes:
    """A response of nothing but a field of rights, many times."""
    return record(b"<p>text</p>", *["X-Robots-Tag: noai"] * max(1, size // 20))


def many_codings(size: int) -> bytes:
    """A body that is said to be encoded very many times over, by as many header lines."""
    return record(b"<p>text</p>", *["Content-Encoding: gzip"] * max(1, size // 24))


def gzip_members(size: int) -> bytes:
    """A body of very many gzip members of nothing."""
    return record(_fill(_gzip(b""), size), "Content-Encoding: gzip")


RECORDS: dict[str, Build] = {
    build.__name__.replace("_", " "): build
    for build in (
        gzip_bomb,
        deflate_bomb,
        brotli_bomb,
        bomb_in_a_bomb,
        tiny_chunks,
        header_lines,
        many_codings,
        gzip_members,
    )
}
