"""One page of the sample: what the server sent and what is known about it.

`Crawl.page` is a pure function of the seed, the pool of passages and the number of the page.
"""

import base64
import datetime
import functools
import json
import random
import re
import struct
import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import brotli

from etl.sample import articles, kinds, sites, texts
from etl.sample.articles import PHRASES, Article, Block
from etl.sample.kinds import Kind
from etl.sample.passages import Pool

START = datetime.datetime(2024, 3, 1, tzinfo=datetime.timezone.utc)  # of the first fetch; one page a second

MAX_PAGES = 1_000_000
DEEP_NESTING = 3000
HUGE_PAGE_BYTES = 3_000_000

# Codecs of Python, how a server names them, and their weights.
CHARSETS: dict[str, tuple[tuple[str, str, int], ...]] = {
    "en": (("utf-8", "utf-8", 85), ("cp1252", "windows-1252", 10), ("cp1252", "iso-8859-1", 5)),
    "pl": (("utf-8", "utf-8", 55), ("iso8859-2", "iso-8859-2", 35), ("cp1250", "windows-1250", 10)),
    "ru": (("utf-8", "utf-8", 55), ("cp1251", "windows-1251", 45)),
    "zh": (("utf-8", "utf-8", 50), ("gb18030", "gb18030", 30), ("gb18030", "gb2312", 20)),
    "ja": (("utf-8", "utf-8", 40), ("shift_jis", "Shift_JIS", 30), ("euc_jp", "EUC-JP", 30)),
    "ar": (("utf-8", "utf-8", 75), ("cp1256", "windows-1256", 25)),
    "hi": (("utf-8", "utf-8", 1),),
}
WESTERN = (("utf-8", "utf-8", 55), ("iso8859-1", "iso-8859-1", 25), ("cp1252", "windows-1252", 20))
PLACES = ("header", "both", "meta", "neither", "wrong")  # where the charset is declared

# From these an extractor takes the article and nothing else.
PLAIN_TEMPLATES = ("blog", "news")

CLOSING_TAG = re.compile(r"</(?:p|div|li|ul|section|article|main|h2|span|td|tr)>")


@dataclass(frozen=True)
class Charset:
    """How a page is encoded, and what is said about it."""

    codec: str
    header: str | None
    meta: str | None


UTF8 = Charset("utf-8", "utf-8", "utf-8")


@dataclass(frozen=True)
class Page:
    """One fetch, with the truth about it."""

    serial: int
    kind: Kind
    url: str
    status: str
    headers: tuple[tuple[str, str], ...]
    body: bytes
    text: str | None = None  # the main text; None where there is none
    title: str | None = None
    language: str | None = None
    charset: Charset | None = None
    duplicate_of: str | None = None
    jaccard: float | None = None
    # Of the archive record.
    truncated: str | None = None
    refers_to: "Page | None" = field(default=None, repr=False)

    @property
    def fetch_time(self) -> datetime.datetime:
        return START + datetime.timedelta(seconds=self.serial)

    @property
    def head(self) -> bytes:
        """The HTTP status line and headers, with the empty line after them."""
        lines = [f"HTTP/1.1 {self.status}", *(f"{name}: {value}" for name, value in self.headers), "", ""]
        return "\r\n".join(lines).encode("latin-1")


@dataclass(frozen=True)
class Crawl:
    """All pages of a seed."""

    seed: int
    pool: Pool

    def page(self, serial: int) -> Page:
        return self._page(kinds.kind_of(self.seed, serial), serial)

    def planted(self, damage: Kind) -> Page:
        """The article whose record is damaged; it comes after all pages that a sample can have."""
        return self._page(damage, MAX_PAGES + kinds.DAMAGES.index(damage))

    def _page(self, kind: Kind, serial: int) -> Page:
        rng = random.Random(f"{self.seed}/{kind.name}/{serial}")
        return _BUILDERS.get(kind.name, _article)(self, kind, serial, rng)

    def article(self, serial: int) -> tuple[Article, sites.Look]:
        """What page `serial`, which is of kind article, says, and where."""
        rng = random.Random(f"{self.seed}/article/{serial}")
        article = articles.english(rng, self.pool)
        return article, self.look(rng, serial, article)

    def look(self, rng: random.Random, serial: int, article: Article, templates: Sequence[str] = ()) -> sites.Look:
        """A place for `article` on a site with one of `templates`, or with any if none is given."""
        # Page 0 must do as an original for every copy: the next page may be one.
        templates = templates or (PLAIN_TEMPLATES if serial == 0 else sites.ARTICLE_TEMPLATES)
        return sites.look(rng, serial, article, sites.sites_for(templates, article.language), self.pool)

    def original(
        self, rng: random.Random, serial: int, templates: Sequence[str] = sites.ARTICLE_TEMPLATES
    ) -> tuple[int, Article, sites.Look]:
        """An article on an earlier page that looks like one of `templates`."""
        while True:
            found = rng.randrange(serial)
            if kinds.kind_of(self.seed, found).name == "article":
                article, look = self.article(found)
                if look.site.template in templates:
                    return found, article, look


def _response(
    kind: Kind,
    serial: int,
    url: str,
    body: bytes,
    *,
    content_type: str = "text/html; charset=utf-8",
    status: str = "200 OK",
    **more: Any,
) -> Page:
    date = (START + datetime.timedelta(seconds=serial)).strftime("%a, %d %b %Y %H:%M:%S GMT")
    headers = (
        ("Date", date),
        ("Server", ("nginx", "Apache/2.4.58", "Caddy", "lighttpd/1.4.73")[serial % 4]),
        ("Content-Type", content_type),
        ("Content-Length", str(len(body))),
        ("Connection", "close"),
    )
    return Page(serial, kind, url, status, headers, body, **more)


def _html(
    kind: Kind,
    serial: int,
    article: Article,
    look: sites.Look,
    charset: Charset = UTF8,
    change: Callable[[str], str] = str,
    **template: Any,
) -> Page:
    """A page that shows `article`; `change` is what happens to its HTML on the way."""
    markup = change(sites.render(look, article, charset.meta, **template))
    declared = f"; charset={charset.header}" if charset.header else ""
    return _response(
        kind,
        serial,
        look.url,
        markup.encode(charset.codec, "xmlcharrefreplace"),
        content_type=f"text/html{declared}",
        text=article.text,
        title=article.title,
        language=article.language,
        charset=charset,
    )


def _with_body(page: Page, body: bytes, *headers: tuple[str, str], length: bool = True) -> Page:
    """The page with another body and more headers; `length` says whether the server told the length."""
    kept = tuple(header for header in page.headers if header[0] != "Content-Length")
    told = (("Content-Length", str(len(body))),) if length else ()
    return replace(page, body=body, headers=(*kept, *headers, *told))


def _charset(rng: random.Random, language: str, weights: tuple[int, ...]) -> Charset:
    """An encoding that the language uses, declared in one of `PLACES`."""
    choices = CHARSETS.get(language, WESTERN)
    ((codec, name, _),) = rng.choices(choices, [weight for *_, weight in choices])
    (place,) = rng.choices(PLACES, weights)
    if place == "wrong":
        # Most often a server declares its default for whatever it sends, and the page knows better or does not care.
        wrong = "iso-8859-1" if codec == "utf-8" else "utf-8"
        return Charset(codec, wrong, rng.choice((name, None)))
    return Charset(codec, name if place in ("header", "both") else None, name if place in ("meta", "both") else None)


def _article(crawl: Crawl, kind: Kind, serial: int, rng: random.Random) -> Page:
    article = articles.english(rng, crawl.pool)
    look = crawl.look(rng, serial, article)
    return _html(kind, serial, article, look, _charset(rng, "en", (40, 40, 12, 8, 0)))


def _forum_thread(crawl: Crawl, kind: Kind, serial: int, rng: random.Random) -> Page:
    article = articles.discussion(rng, crawl.pool)
    return _html(kind, serial, article, crawl.look(rng, serial, article, ("forum",)))


def _product(crawl: Crawl, kind: Kind, serial: int, rng: random.Random) -> Page:
    article = articles.product(rng, crawl.pool)
    return _html(kind, serial, article, crawl.look(rng, serial, article, ("shop",)))


def _other_language(crawl: Crawl, kind: Kind, serial: int, rng: random.Random) -> Page:
    # Languages take turns within a deck, so that each is there even in the smallest sample.
    cards = kinds.deck(crawl.seed, serial // kinds.DECK)
    turn = sum(card.name == kind.name for card in cards[: serial % kinds.DECK])
    language = texts.LANGUAGES[turn % len(texts.LANGUAGES)]
    article = articles.foreign(rng, language)
    look = crawl.look(rng, serial, article)
    return _html(kind, serial, article, look, _charset(rng, language, (30, 25, 25, 12, 8)))


def _exact_duplicate(crawl: Crawl, kind: Kind, serial: int, rng: random.Random) -> Page:
    # An exact copy is one whose extracted text is the same to the letter. Extractors give the bare article
    # on blogs and in newspapers; in manuals they often add its title.
    _, article, first = crawl.original(rng, serial, PLAIN_TEMPLATES)
    template = "news" if first.site.template == "blog" else "blog"
    page = _html(kind, serial, article, crawl.look(rng, serial, article, (template,)))
    return replace(page, duplicate_of=first.url)


def _near_duplicate(crawl: Crawl, kind: Kind, serial: int, rng: random.Random) -> Page:
    _, original, first = crawl.original(rng, serial)
    article = articles.near_duplicate(rng, original)
    page = _html(kind, serial, article, crawl.look(rng, serial, article))
    return replace(page, duplicate_of=first.url, jaccard=round(articles.jaccard(original.text, article.text), 6))


def _of_blocks(
    crawl: Crawl, kind: Kind, serial: int, rng: random.Random, title: str, blocks: Sequence[Block], language: str = "en"
) -> Page:
    """A page with these blocks on a blog or in a newspaper."""
    name, date = articles.a_name(rng), articles.a_date(rng)
    article = Article(title, name, date, "en", title, tuple(blocks))
    look = crawl.look(rng, serial, article, PLAIN_TEMPLATES)
    return replace(_html(kind, serial, article, replace(look, comments=())), language=language)


def _listing(crawl: Crawl, kind: Kind, serial: int, rng: random.Random) -> Page:
    entries = [
        link._replace(date=articles.long_date(articles.a_date(rng), "en"))
        for link in sites.related_links(rng, "en", crawl.pool, rng.randint(15, 25))
    ]
    return _without_article(crawl, kind, serial, rng, "Archive", template="listing", entries=entries)


def _navigation(crawl: Crawl, kind: Kind, serial: int, rng: random.Random) -> Page:
    entries = sites.related_links(rng, "en", crawl.pool, 30)
    return _without_article(crawl, kind, serial, rng, "All subjects", template="portal", entries=entries)


def _javascript_required(crawl: Crawl, kind: Kind, serial: int, rng: random.Random) -> Page:
    notice = rng.choice(
        ("Loading, please wait.", "Please turn on JavaScript to view this page.", "This site requires JavaScript.")
    )
    return _without_article(crawl, kind, serial, rng, "Application", template="app", notice=notice)


def _without_article(crawl: Crawl, kind: Kind, serial: int, rng: random.Random, title: str, **template: Any) -> Page:
    article = Article(title, articles.a_name(rng), articles.a_date(rng), "en", title, ())
    look = crawl.look(rng, serial, article, ("blog", "news", "docs"))
    return replace(_html(kind, serial, article, look, **template), text=None)


def _too_short(crawl: Crawl, kind: Kind, serial: int, rng: random.Random) -> Page:
    blocks = [articles.paragraph(passage.text, passage.html) for passage in articles.some(rng, crawl.pool, 2, 18)]
    return _of_blocks(crawl, kind, serial, rng, "A note", blocks)


def _bullet_list(crawl: Crawl, kind: Kind, serial: int, rng: random.Random) -> Page:
    items = articles.some(rng, crawl.pool, rng.randint(40, 70), 16)
    blocks = [articles.list_block([(passage.text, passage.html) for passage in items])]
    return _of_blocks(crawl, kind, serial, rng, "The whole list", blocks)


def _repeated_lines(crawl: Crawl, kind: Kind, serial: int, rng: random.Random) -> Page:
    lines = [articles.paragraph(passage.text) for passage in articles.some(rng, crawl.pool, rng.randint(3, 5), 25)]
    return _of_blocks(crawl, kind, serial, rng, "Transcript", lines * rng.randint(5, 9))


def _keyword_spam(crawl: Crawl, kind: Kind, serial: int, rng: random.Random) -> Page:
    paragraphs = [" ".join(rng.choices(PHRASES["keywords"], k=rng.randint(30, 60))) for _ in range(rng.randint(4, 8))]
    blocks = [articles.paragraph(words.capitalize() + ".") for words in paragraphs]
    return _of_blocks(crawl, kind, serial, rng, "Best golden handbook cheap", blocks)


def _lorem_ipsum(crawl: Crawl, kind: Kind, serial: int, rng: random.Random) -> Page:
    paragraphs = [
        ". ".join(
            " ".join(rng.choices(PHRASES["lorem"], k=rng.randint(6, 14))).capitalize() for _ in range(rng.randint(4, 7))
        )
        for _ in range(rng.randint(4, 8))
    ]
    blocks = [articles.paragraph(f"Lorem ipsum dolor sit amet. {text}.") for text in paragraphs]
    return _of_blocks(crawl, kind, serial, rng, "Sample page", blocks, language="la")


def _code_dump(crawl: Crawl, kind: Kind, serial: int, rng: random.Random) -> Page:
    functions = []
    for _ in range(rng.randint(12, 30)):
        verb, noun = rng.choice(("load", "store", "merge", "parse")), rng.choice(("page", "record", "index", "cache"))
        functions.append(
            f"static int {verb}_{noun}{rng.randint(1, 99)}(struct {noun} *it, size_t n) {{\n"
            f"    for (size_t i = {rng.randint(0, 9)}; i < n; i++) {{\n"
            f"        if (it[i].flags & 0x{rng.randrange(256):02x}) {{ return -{rng.randint(1, 40)}; }}\n"
            f"        it[i].next = &it[(i * {rng.randint(3, 97)}) % n];\n    }}\n    return 0;\n}}"
        )
    code = "\n\n".join(functions)
    said = [articles.paragraph(passage.text) for passage in articles.some(rng, crawl.pool, 2, 30)]
    return _of_blocks(crawl, kind, serial, rng, "Listing of the source", [*said, Block("pre", code, "")])


def _symbol_spam(crawl: Crawl, kind: Kind, serial: int, rng: random.Random) -> Page:
    said = articles.some(rng, crawl.pool, rng.randint(6, 10), 20)
    blocks = [
        articles.paragraph(
            f"{passage.text} {' '.join('#' + rng.choice(PHRASES['keywords']) for _ in range(rng.randint(8, 16)))}"
        )
        for passage in said
    ]
    return _of_blocks(crawl, kind, serial, rng, "Follow us", blocks)


def _long_word(crawl: Crawl, kind: Kind, serial: int, rng: random.Random) -> Page:
    word = base64.b32encode(rng.randbytes(rng.randint(900, 3000))).decode().strip("=").lower()
    return _of_blocks(crawl, kind, serial, rng, "Attachment", [articles.paragraph(word)])


def _ellipsis_teasers(crawl: Crawl, kind: Kind, serial: int, rng: random.Random) -> Page:
    said = articles.some(rng, crawl.pool, rng.randint(12, 20), 60)
    blocks = [
        articles.paragraph(
            " ".join(passage.text.split()[: rng.randint(8, 14)]).rstrip(".,;:") + rng.choice(("...", "\u2026"))
        )
        for passage in said
    ]
    return _of_blocks(crawl, kind, serial, rng, "Results", blocks)


def _unclosed_tags(crawl: Crawl, kind: Kind, serial: int, rng: random.Random) -> Page:
    article = articles.english(rng, crawl.pool)
    look = crawl.look(rng, serial, article, PLAIN_TEMPLATES)
    return _html(kind, serial, article, look, change=lambda markup: CLOSING_TAG.sub("", markup))


def _nested_tables(crawl: Crawl, kind: Kind, serial: int, rng: random.Random) -> Page:
    article = articles.english(rng, crawl.pool)
    look = crawl.look(rng, serial, article, ("homepage",))
    return _html(kind, serial, article, look, template="tables", levels=rng.randint(6, 14))


def _nul_bytes(crawl: Crawl, kind: Kind, serial: int, rng: random.Random) -> Page:
    page = _article(crawl, kind, serial, rng)
    return _with_body(page, page.body.replace(b". ", b".\0 ").replace(b"<p>", b"<p>\0"))


def _wrong_charset(crawl: Crawl, kind: Kind, serial: int, rng: random.Random) -> Page:
    article = articles.english(rng, crawl.pool)
    said = articles.paragraph(
        "\u201cNa\u00efve caf\u00e9s\u201d is how the crew \u2013 not \u201cexperts\u201d \u2013 spell it."
    )
    article = replace(article, blocks=(*article.blocks, said))
    wrong = rng.choice(
        (Charset("utf-8", "utf-16", None), Charset("cp1252", "utf-8", None), Charset("utf-8", "x-none", None))
    )
    return _html(kind, serial, article, crawl.look(rng, serial, article), wrong)


def _truncated_payload(crawl: Crawl, kind: Kind, serial: int, rng: random.Random) -> Page:
    """A page of which the crawler kept the first bytes only; its text is what comes whole before the cut."""
    article = articles.english(rng, crawl.pool)
    while len(article.blocks) < 6:
        article = articles.english(rng, crawl.pool)
    page = _html(kind, serial, article, crawl.look(rng, serial, article, PLAIN_TEMPLATES))
    last = article.blocks[max(4, 2 * len(article.blocks) // 3)]
    place = page.body.index(last.html.encode()) + len(last.html.encode()) // 2
    whole = article.blocks[: article.blocks.index(last)]
    return replace(page, body=page.body[:place], text=replace(article, blocks=whole).text, truncated="length")


def _deep_nesting(crawl: Crawl, kind: Kind, serial: int, rng: random.Random) -> Page:
    page = _article(crawl, kind, serial, rng)
    deep = page.body.replace(b"<body", b"<body><div>" + b"<div>" * (DEEP_NESTING - 1) + b"<div", 1)
    return _with_body(page, deep)


def _huge_page(crawl: Crawl, kind: Kind, serial: int, rng: random.Random) -> Page:
    """An article with the state of its application, three megabytes of it, in the page."""
    page = _article(crawl, kind, serial, rng)
    script = b"<script>window.__PRELOADED_STATE__=" + _huge_state() + b";</script>"
    return _with_body(page, page.body.replace(b"</body>", script + b"</body>").replace(b"</BODY>", script + b"</BODY>"))


@functools.cache
def _huge_state() -> bytes:
    entry = '{"id":%d,"slug":"golden-%d","title":"Handbook","tags":["a","b"],"price":%d.50,"stock":true}'
    entries = (entry % (number, number * 7919, number % 60) for number in range(HUGE_PAGE_BYTES // len(entry)))
    return b'{"items":[' + ",".join(entries).encode() + b"]}"


def _empty_body(crawl: Crawl, kind: Kind, serial: int, rng: random.Random) -> Page:
    return _response(kind, serial, _a_url(rng, serial, "empty.html"), b"")


def _binary_as_html(crawl: Crawl, kind: Kind, serial: int, rng: random.Random) -> Page:
    return _response(kind, serial, _a_url(rng, serial, "download"), b"\x93\0" + rng.randbytes(rng.randint(2000, 9000)))


def _gzip_body(crawl: Crawl, kind: Kind, serial: int, rng: random.Random) -> Page:
    page = _article(crawl, kind, serial, rng)
    return _with_body(page, gzip_member(page.body), ("Content-Encoding", "gzip"))


def _brotli_body(crawl: Crawl, kind: Kind, serial: int, rng: random.Random) -> Page:
    page = _article(crawl, kind, serial, rng)
    return _with_body(page, brotli.compress(page.body, quality=5), ("Content-Encoding", "br"))


def _chunked_body(crawl: Crawl, kind: Kind, serial: int, rng: random.Random) -> Page:
    page = _article(crawl, kind, serial, rng)
    return _with_body(page, _chunked(rng, page.body), ("Transfer-Encoding", "chunked"), length=False)


def _chunked_gzip_body(crawl: Crawl, kind: Kind, serial: int, rng: random.Random) -> Page:
    page = _gzip_body(crawl, kind, serial, rng)
    return _with_body(page, _chunked(rng, page.body), ("Transfer-Encoding", "chunked"), length=False)


def _wrong_content_encoding(crawl: Crawl, kind: Kind, serial: int, rng: random.Random) -> Page:
    page = _article(crawl, kind, serial, rng)
    return _with_body(page, page.body, ("Content-Encoding", rng.choice(("gzip", "br", "utf-8"))))


def _chunked(rng: random.Random, body: bytes) -> bytes:
    """The body in the chunked transfer coding of HTTP/1.1."""
    chunks = bytearray()
    start = 0
    while start < len(body):
        chunk = body[start : start + rng.randint(500, 4096)]
        chunks += b"%x\r\n%s\r\n" % (len(chunk), chunk)
        start += len(chunk)
    return bytes(chunks) + b"0\r\n\r\n"


def gzip_member(data: bytes, level: int = 6) -> bytes:
    """One gzip member without a time in it, so that the same bytes always give the same member."""
    compress = zlib.compressobj(level, zlib.DEFLATED, 31)
    return compress.compress(data) + compress.flush()


def _a_url(rng: random.Random, serial: int, name: str) -> str:
    return f"https://{rng.choice(sites.SITES).host}/files/{serial}/{name}"


def _pdf(crawl: Crawl, kind: Kind, serial: int, rng: random.Random) -> Page:
    line = articles.some(rng, crawl.pool, 1, 12)[0].text.encode("latin-1", "replace")
    for plain, escaped in ((b"\\", b"\\\\"), (b"(", b"\\("), (b")", b"\\)")):
        line = line.replace(plain, escaped)
    drawing = b"BT /F1 12 Tf 72 720 Td (" + line + b") Tj ET"
    objects = (
        b"<< /Type /Catalog /Pages 2 0 R >>",
        b"<< /Type /Pages /Kids [3 0 R] /Count 1 >>",
        b"<< /Type /Page /Parent 2 0 R /MediaBox [0 0 595 842] /Contents 4 0 R"
        b" /Resources << /Font << /F1 << /Type /Font /Subtype /Type1 /BaseFont /Helvetica >> >> >> >>",
        b"<< /Length %d >>\nstream\n%s\nendstream" % (len(drawing), drawing),
    )
    body, places = bytearray(b"%PDF-1.4\n%\xe2\xe3\xcf\xd3\n"), []
    for number, content in enumerate(objects, 1):
        places.append(len(body))
        body += b"%d 0 obj\n%s\nendobj\n" % (number, content)
    table = b"".join(b"%010d 00000 n \n" % place for place in places)
    end = b"xref\n0 5\n0000000000 65535 f \n%strailer\n<< /Size 5 /Root 1 0 R >>\nstartxref\n%d\n%%%%EOF\n"
    return _response(
        kind,
        serial,
        _a_url(rng, serial, "paper.pdf"),
        bytes(body) + end % (table, len(body)),
        content_type="application/pdf",
    )


def _json(crawl: Crawl, kind: Kind, serial: int, rng: random.Random) -> Page:
    links = sites.related_links(rng, "en", crawl.pool, 12)
    body = json.dumps({"page": serial, "results": [link._asdict() for link in links]}).encode()
    return _response(kind, serial, _a_url(rng, serial, "search.json"), body, content_type="application/json")


def _png(crawl: Crawl, kind: Kind, serial: int, rng: random.Random) -> Page:
    side = 16
    rows = b"".join(b"\0" + rng.randbytes(3 * side) for _ in range(side))
    chunks = (
        (b"IHDR", struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0)),
        (b"IDAT", zlib.compress(rows)),
        (b"IEND", b""),
    )
    body = b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data)) for name, data in chunks
    )
    return _response(kind, serial, _a_url(rng, serial, "icon.png"), body, content_type="image/png")


def _css(crawl: Crawl, kind: Kind, serial: int, rng: random.Random) -> Page:
    rules = (f".c{rng.randrange(10**4)} {{ margin: {rng.randint(0, 40)}px; }}" for _ in range(60))
    return _response(kind, serial, _a_url(rng, serial, "site.css"), "\n".join(rules).encode(), content_type="text/css")


def _xml_feed(crawl: Crawl, kind: Kind, serial: int, rng: random.Random) -> Page:
    items = "".join(
        f"<item><title>{link.title}</title><link>https://blog.lakeside.example{link.href}</link></item>"
        for link in sites.related_links(rng, "en", crawl.pool, 15)
    )
    body = f'<?xml version="1.0"?>\n<rss version="2.0"><channel><title>Feed</title>{items}</channel></rss>'
    return _response(
        kind, serial, _a_url(rng, serial, "feed.xml"), body.encode(), content_type="application/rss+xml; charset=utf-8"
    )


def _plain_text(crawl: Crawl, kind: Kind, serial: int, rng: random.Random) -> Page:
    article = articles.english(rng, crawl.pool)
    body = article.text.encode()
    page = _response(kind, serial, _a_url(rng, serial, "read.txt"), body, content_type="text/plain; charset=utf-8")
    return replace(page, text=article.text, language="en")


def _status_301(crawl: Crawl, kind: Kind, serial: int, rng: random.Random) -> Page:
    url = _a_url(rng, serial, "old")
    body = b"<html><head><title>301 Moved Permanently</title></head><body><h1>Moved Permanently</h1></body></html>"
    page = _response(kind, serial, url, body, status="301 Moved Permanently", content_type="text/html")
    return _with_body(page, body, ("Location", url.replace("/old", "/new")))


def _status_404(crawl: Crawl, kind: Kind, serial: int, rng: random.Random) -> Page:
    """An error page that reads like an article, so that only the status tells."""
    page = _article(crawl, kind, serial, rng)
    return replace(page, status="404 Not Found")


def _status_500(crawl: Crawl, kind: Kind, serial: int, rng: random.Random) -> Page:
    body = b"<html><body><h1>Internal Server Error</h1><p>The server could not complete your request.</p></body></html>"
    return _response(kind, serial, _a_url(rng, serial, "report"), body, status="500 Internal Server Error")


def _status_204(crawl: Crawl, kind: Kind, serial: int, rng: random.Random) -> Page:
    return _response(kind, serial, _a_url(rng, serial, "ping"), b"", status="204 No Content")


def _revisit(crawl: Crawl, kind: Kind, serial: int, rng: random.Random) -> Page:
    """A page fetched again that had not changed: its record points to the earlier one and has no body."""
    found, *_ = crawl.original(rng, serial)
    first = crawl.page(found)
    return replace(first, serial=serial, kind=kind, refers_to=first, duplicate_of=first.url, text=None)


def _robots_txt(crawl: Crawl, kind: Kind, serial: int, rng: random.Random) -> Page:
    host = f"www{serial}.{rng.choice(sites.SITES).domain}"
    body = (
        f"User-agent: *\nDisallow: /search\nCrawl-delay: {rng.randint(1, 9)}\n\nSitemap: https://{host}/sitemap.xml\n"
    )
    return _response(kind, serial, f"https://{host}/robots.txt", body.encode(), content_type="text/plain")


_BUILDERS: dict[str, Callable[[Crawl, Kind, int, random.Random], Page]] = {
    "article": _article,
    "forum_thread": _forum_thread,
    "product": _product,
    "other_language": _other_language,
    "exact_duplicate": _exact_duplicate,
    "near_duplicate": _near_duplicate,
    "listing": _listing,
    "navigation": _navigation,
    "too_short": _too_short,
    "bullet_list": _bullet_list,
    "repeated_lines": _repeated_lines,
    "keyword_spam": _keyword_spam,
    "lorem_ipsum": _lorem_ipsum,
    "javascript_required": _javascript_required,
    "code_dump": _code_dump,
    "symbol_spam": _symbol_spam,
    "long_word": _long_word,
    "ellipsis_teasers": _ellipsis_teasers,
    "unclosed_tags": _unclosed_tags,
    "nested_tables": _nested_tables,
    "nul_bytes": _nul_bytes,
    "wrong_charset": _wrong_charset,
    "truncated_payload": _truncated_payload,
    "deep_nesting": _deep_nesting,
    "huge_page": _huge_page,
    "empty_body": _empty_body,
    "binary_as_html": _binary_as_html,
    "gzip_body": _gzip_body,
    "brotli_body": _brotli_body,
    "chunked_body": _chunked_body,
    "chunked_gzip_body": _chunked_gzip_body,
    "wrong_content_encoding": _wrong_content_encoding,
    "pdf": _pdf,
    "json": _json,
    "png": _png,
    "css": _css,
    "xml_feed": _xml_feed,
    "plain_text": _plain_text,
    "status_301": _status_301,
    "status_404": _status_404,
    "status_500": _status_500,
    "status_204": _status_204,
    "revisit": _revisit,
    "robots_txt": _robots_txt,
}
