"""Fictional sites, all under the reserved top-level domain .example (RFC 2606), and how their pages look."""

import datetime
import functools
import random
import re
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import resources
from types import SimpleNamespace
from typing import Any, NamedTuple

from jinja2 import Environment, FunctionLoader, Template

from etl.sample import articles, texts
from etl.sample.articles import PHRASES, Article
from etl.sample.passages import Pool

ARTICLE_TEMPLATES = ("blog", "docs", "news", "wiki", "homepage")
RIGHT_TO_LEFT = frozenset({"ar"})


class Site(NamedTuple):
    host: str
    name: str
    tagline: str
    template: str
    colour: str
    generator: str
    languages: tuple[str, ...] = ("en",)
    rights: str = ""  # what the site says of the use of its pages: by-sa, noai, tdm, or nothing

    @property
    def domain(self) -> str:
        return ".".join(self.host.split(".")[-2:])


SITES = (
    Site("docs.golden.example", "Golden Docs", "Manuals for patient people", "docs", "#2980b9", "Quillpress 3.2"),
    Site("handbook.tarn.example", "Tarn Handbook", "How we build things", "docs", "#34495e", "Foliant 1.9"),
    Site(
        "reference.birchlake.example",
        "Birchlake Reference",
        "Every page in one place",
        "docs",
        "#1d6f42",
        "Quillpress 2.8",
    ),
    Site("blog.lakeside.example", "Lakeside Notes", "Software, slowly", "blog", "#b5552d", "Pressroom 6.4"),
    Site("www.harbour.example", "Harbour Log", "What we learned this week", "blog", "#31708f", "Pressroom 5.9"),
    Site("diary.millstone.example", "Millstone Diary", "One engineer, one dog", "blog", "#6b4f9e", "Inkwell 0.12"),
    Site("www.northshore.example", "The Northshore Courier", "Independent since 1987", "news", "#a3001b", "Galley 11"),
    Site("weekly.fernhill.example", "Fernhill Weekly", "Read on Sundays", "news", "#00695c", "Galley 10", rights="tdm"),
    Site("magazine.brackwater.example", "Brackwater", "Long reads", "news", "#1a237e", "Galley 12", rights="noai"),
    Site(
        "wiki.openlake.example",
        "Openlake",
        "The encyclopedia of small things",
        "wiki",
        "#54595d",
        "Pagesmith 1.41",
        rights="by-sa",
    ),
    Site("wiki.golden.example", "Goldpedia", "Collected knowledge", "wiki", "#54595d", "Pagesmith 1.39"),
    Site("www.oldmill.example", "The Old Mill", "A home page", "homepage", "#336699", "PageMaker Gold 4.0"),
    Site("forum.golden.example", "Golden Forum", "Ask and answer", "forum", "#3949ab", "Roundtable 3.1"),
    Site("ask.harbour.example", "Ask the Harbour", "Questions welcome", "forum", "#00838f", "Roundtable 2.7"),
    Site("shop.tarn.example", "Tarn Books", "Printed matter", "shop", "#c0392b", "Counter 8"),
    Site("store.fernhill.example", "Fernhill Store", "Books and maps", "shop", "#2e7d32", "Counter 7"),
    Site("blog.seeblick.example", "Seeblick", "Magazine", "blog", "#2d6a8f", "Pressroom 6.1", texts.LANGUAGES),
    Site("www.marktplatz.example", "Marktplatz", "Magazine", "news", "#7b3f00", "Galley 11", texts.LANGUAGES),
    Site(
        "home.lindenhof.example", "Lindenhof", "Magazine", "homepage", "#556b2f", "PageMaker Gold 3.0", texts.LANGUAGES
    ),
)


class Link(NamedTuple):
    href: str
    title: str
    teaser: str = ""
    date: str = ""


class Comment(NamedTuple):
    name: str
    text: str


@dataclass(frozen=True)
class Look:
    """Where a page stands and what surrounds its text: all that a template needs besides the article."""

    site: Site
    url: str
    serial: int
    section: str
    category: str
    related: tuple[Link, ...]
    comments: tuple[Comment, ...]
    price: str


def sites_for(templates: Sequence[str], language: str) -> tuple[Site, ...]:
    return tuple(site for site in SITES if site.template in templates and language in site.languages)


def look(rng: random.Random, serial: int, article: Article, sites: Sequence[Site], pool: Pool) -> Look:
    """A place among `sites` for `article`, with other titles of the site around it."""
    site = rng.choice(sites)
    slug = re.sub(r"\W+", "-", article.title.lower()).strip("-")
    ui = texts.interface(article.language)
    topic = rng.randrange(len(ui["topics"]))
    comments: tuple[Comment, ...] = ()
    if site.template == "blog" and article.language == "en" and rng.random() < 0.6:
        remarks = rng.sample(PHRASES["remarks"], rng.randint(1, 4))
        comments = tuple(Comment(articles.a_nick(rng), remark) for remark in remarks)
    return Look(
        site=site,
        url=f"https://{site.host}{_path(site.template, serial, slug, article)}",
        serial=serial,
        section=str(topic + 1),
        category=ui["topics"][topic],
        related=related_links(rng, article.language, pool, rng.randint(8, 14)),
        comments=comments,
        price=f"{rng.randint(9, 59)}.{rng.choice(('00', '50', '90'))}",
    )


def _path(template: str, serial: int, slug: str, article: Article) -> str:
    if template == "docs":
        return f"/en/stable/{slug}-{serial}.html"
    if template == "wiki":
        return f"/wiki/{slug.replace('-', '_').capitalize()}_({serial})"
    if template == "homepage":
        return f"/~{article.author.split()[0].lower()}/{serial}.html"
    if template == "forum":
        return f"/t/{slug}/{serial}"
    if template == "shop":
        return f"/p/{serial}/{slug}?ref=list"
    prefix = "" if article.language == "en" else f"/{article.language}"
    # An address of the time when slugs were Latin only; the others keep the number.
    latin = slug if slug.isascii() else "a"
    return f"{prefix}/{article.date:%Y/%m}/{latin}-{serial}/"


def related_links(rng: random.Random, language: str, pool: Pool, count: int) -> tuple[Link, ...]:
    """Links to other pages, by their titles."""
    if language != "en":
        titles = [heading for heading, _ in texts.paragraphs(language)]
        return tuple(
            Link(f"/{language}/{rng.randrange(10**6)}/", title) for title in rng.sample(titles, count - count // 4)
        )
    subjects = [passage.subject for passage in rng.choices(pool.passages, k=count)]
    return tuple(Link(f"/archive/{rng.randrange(10**6)}", articles.a_title(rng, subject)) for subject in subjects)


def render(look: Look, article: Article, charset_meta: str | None, **more: Any) -> str:
    """The HTML of a page. `more` goes to the template, and a `template` in it replaces that of the site."""
    template = more.pop("template", look.site.template)
    page = {
        **vars(look),
        "title": article.title,
        "author": article.author,
        "blocks": article.blocks,
        "posts": article.posts,
        "language": article.language,
        "right_to_left": article.language in RIGHT_TO_LEFT,
        "ui": texts.interface(article.language),
        "date_iso": article.date.isoformat(),
        "date_text": articles.long_date(article.date, article.language),
        "year": max(article.date.year, datetime.date(2024, 1, 1).year),
        "summary": article.text[:150].rpartition(" ")[0].replace("\n", " "),
        "charset_meta": charset_meta,
        **more,
    }
    return _template(template).render(page=SimpleNamespace(**page))


@functools.cache
def _template(name: str) -> Template:
    return _environment().get_template(f"{name}.html")


@functools.cache
def _environment() -> Environment:
    folder = resources.files("etl.sample") / "templates"
    return Environment(
        loader=FunctionLoader(lambda name: folder.joinpath(name).read_text("utf-8")),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
