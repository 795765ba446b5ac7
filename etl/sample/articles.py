"""What the pages of the sample say: articles, discussions, descriptions, and copies of them with changes.

Everything here is a function of a `random.Random` and the pool of passages, so a page is the
same whoever writes it.
"""

import datetime
import functools
import html
import itertools
import math
import random
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

from etl.sample import texts
from etl.sample.passages import Passage, Pool

# Lengths of pages are spread log-normally; these give a median of 320 and a mean of about 430 words.
MEDIAN_WORDS, SIGMA = 320, 0.8
MIN_WORDS, MAX_WORDS = 80, 3000
MIN_SENTENCES = 7  # C4 wants five; an extractor may lose a short paragraph
MAX_SHELF_RATIO = 0.4  # of a shelf in one page, or two long pages from it would be near duplicates
MAX_RUN = 3  # passages that follow each other in a page as they do where they come from
MIN_PASSAGES = 4  # so that two short pages seldom share most of their text

PHRASES = texts.phrases()

SHINGLE_WORDS = 5  # FineWeb, Penedo et al. 2024


_SENTENCE_END = re.compile(r"[.!?]\S?(?=\s|$)")
_QUOTED = re.compile(r'"([^"]*)"')


class Block(NamedTuple):
    """A piece of main text; its kind is p, h2, ul or pre."""

    kind: str
    text: str
    html: str


class Post(NamedTuple):
    """A contribution to a discussion."""

    name: str
    blocks: tuple[Block, ...]


@dataclass(frozen=True)
class Article:
    title: str
    author: str
    date: datetime.date
    language: str
    subject: str
    blocks: tuple[Block, ...]
    posts: tuple[Post, ...] = ()

    @property
    def text(self) -> str:
        """The main text as an extractor should find it: one line for each heading, paragraph and item."""
        blocks = self.blocks or tuple(itertools.chain.from_iterable(post.blocks for post in self.posts))
        return "\n".join(block.text for block in blocks)


def english(rng: random.Random, pool: Pool) -> Article:
    """An article of good prose in English."""
    target = min(max(MIN_WORDS, round(rng.lognormvariate(math.log(MEDIAN_WORDS), SIGMA))), MAX_WORDS)
    chosen = draw(rng, pool, target)
    subject = chosen[0].subject
    date = a_date(rng)
    blocks = list(_sections(rng, chosen))
    if rng.random() < 0.4:
        blocks.append(paragraph(rng.choice(PHRASES["revisions"]).format(date=long_date(date, "en"))))
    if rng.random() < 0.35:
        blocks = [Block(kind, _typographic(text), _typographic(markup)) for kind, text, markup in blocks]
    return Article(a_title(rng, subject), a_name(rng), date, "en", subject, tuple(blocks))


def discussion(rng: random.Random, pool: Pool) -> Article:
    """A forum thread: a question and two to five answers."""
    chosen = draw(rng, pool, rng.randint(130, 600))
    subject = chosen[0].subject
    answers = min(rng.randint(2, 5), len(chosen) - 1)
    opening, closing = rng.sample(PHRASES["openings"], answers), rng.sample(PHRASES["closings"], answers)
    asked = paragraph(rng.choice(PHRASES["questions"]).format(subject=subject))
    posts = [Post(a_nick(rng), (asked, paragraph(chosen[0].text, chosen[0].html)))]
    for index in range(answers):
        share = tuple(paragraph(passage.text, passage.html) for passage in chosen[1 + index :: answers])
        posts.append(Post(a_nick(rng), (paragraph(opening[index]), *share, paragraph(closing[index]))))
    title = rng.choice(PHRASES["topic_titles"])
    return Article(_capital(title.format(subject)), a_name(rng), a_date(rng), "en", subject, (), tuple(posts))


def product(rng: random.Random, pool: Pool) -> Article:
    """The description of a book for sale."""
    chosen = draw(rng, pool, rng.randint(90, 260))
    subject = chosen[0].subject
    blurb = rng.choice(PHRASES["blurbs"]).format(binding=rng.choice(PHRASES["bindings"]), subject=subject)
    blocks = (paragraph(blurb), paragraph(rng.choice(PHRASES["extracts"])), *_paragraphs(rng, chosen))
    title = rng.choice(PHRASES["book_titles"]).format(subject)
    return Article(_capital(title), a_name(rng), a_date(rng), "en", subject, blocks)


def foreign(rng: random.Random, language: str) -> Article:
    """An article in another language: some paragraphs in some order, without some of their sentences."""
    chosen = rng.sample(texts.paragraphs(language), rng.randint(4, 7))
    blocks = []
    for index, (heading, sentences) in enumerate(chosen):
        first = rng.randrange(len(sentences))
        kept = "".join(text for number, text in enumerate(sentences) if number == first or rng.random() < 0.65)
        if index and rng.random() < 0.4:
            blocks.append(heading_block(heading))
        blocks.append(paragraph(kept.strip()))
    return Article(chosen[0][0], a_name(rng), a_date(rng), language, chosen[0][0], tuple(blocks))


def near_duplicate(rng: random.Random, original: Article) -> Article:
    """The same article with some words and its date changed; one in two also lost some paragraphs."""
    date = original.date + datetime.timedelta(days=rng.randint(20, 500))
    blocks = [
        paragraph(block.text.replace(long_date(original.date, "en"), long_date(date, "en")))
        if long_date(original.date, "en") in block.text
        else block
        for block in original.blocks
    ]
    prose = [index for index, block in enumerate(blocks) if block.kind == "p"]
    changes = max(1, round(sum(len(blocks[i].text.split()) for i in prose) * rng.choice((0.002, 0.006, 0.012, 0.025))))
    for index in rng.choices(prose, k=changes):
        blocks[index] = _change_a_word(rng, blocks[index])
    if rng.random() < 0.5 and len(prose) > 2:
        lost = set(rng.sample(prose, max(1, min(len(prose) - 2, round(len(prose) * rng.uniform(0.05, 0.3))))))
        left = [block for index, block in enumerate(blocks) if index not in lost]
        if sum(len(_SENTENCE_END.findall(block.text)) for block in left) >= MIN_SENTENCES:
            blocks = left
    return replace(original, date=date, blocks=tuple(blocks))


def shingles(text: str, size: int = SHINGLE_WORDS) -> set[tuple[str, ...]]:
    """The runs of `size` words; a word is a run of letters, digits and underscores, in lower case."""
    words = re.findall(r"\w+", text.lower())
    return {tuple(words[start : start + size]) for start in range(len(words) - size + 1)}


def jaccard(left: str, right: str) -> float:
    """Shared shingles over all shingles of the two texts."""
    a, b = shingles(left), shingles(right)
    return len(a & b) / len(a | b) if a or b else 0.0


def draw(rng: random.Random, pool: Pool, words: int) -> list[Passage]:
    """Different passages with at least so many words: short runs from one shelf or, where it is small, from several."""
    most = words // 4  # of a passage in a short page, or two pages that share it would be near duplicates
    chosen: list[Passage] = []
    said: set[tuple[str, ...]] = set()
    have = sentences = 0
    while True:
        (shelf,) = rng.choices(pool.shelves, cum_weights=pool.weights)
        for _ in range(int(MAX_SHELF_RATIO * len(shelf.passages) / MAX_RUN)):
            start = rng.randrange(len(shelf.passages))
            for passage in shelf.passages[start : start + rng.randint(1, MAX_RUN)]:
                phrases = _phrases(passage.text)
                # References describe alike things in the same words; a page made of those reads as spam.
                if passage.words > most or len(phrases & said) > 1:
                    continue
                said |= phrases
                chosen.append(passage)
                have += passage.words
                sentences += passage.sentences
            if have >= words and sentences >= MIN_SENTENCES and len(chosen) >= MIN_PASSAGES:
                return chosen


@functools.cache
def _phrases(text: str) -> frozenset[tuple[str, ...]]:
    """Its runs of four words, as they stand."""
    words = text.split()
    return frozenset(zip(words, words[1:], words[2:], words[3:], strict=False))


def some(rng: random.Random, pool: Pool, count: int, most_words: int) -> list[Passage]:
    """`count` different passages of at most so many words each, from anywhere."""
    chosen: dict[Passage, None] = {}
    while len(chosen) < count:
        passage = rng.choice(pool.passages)
        if passage.words <= most_words:
            chosen[passage] = None
    return list(chosen)


def _sections(rng: random.Random, chosen: Sequence[Passage]) -> Iterator[Block]:
    """Paragraphs with a heading now and then, and sometimes a list."""
    until_heading = rng.randint(90, 240)
    headings = rng.sample(PHRASES["headings"], len(PHRASES["headings"]))
    start = 0
    while start < len(chosen):
        if until_heading <= 0 and headings:
            yield heading_block(_capital(headings.pop().format(subject=chosen[start].subject)))
            until_heading = rng.randint(120, 320)
        if start > 2 and rng.random() < 0.05 and len(chosen) - start >= 6:
            end = start + rng.randint(3, 5)
            yield list_block([(passage.text, passage.html) for passage in chosen[start:end]])
        else:
            end = _paragraph_end(rng, chosen, start)
            yield _join(chosen[start:end])
        until_heading -= sum(passage.words for passage in chosen[start:end])
        start = end


def _paragraphs(rng: random.Random, chosen: Sequence[Passage]) -> Iterator[Block]:
    start = 0
    while start < len(chosen):
        end = _paragraph_end(rng, chosen, start)
        yield _join(chosen[start:end])
        start = end


def _paragraph_end(rng: random.Random, chosen: Sequence[Passage], start: int) -> int:
    """Where a paragraph of 25 to 80 words ends that begins at `start`."""
    wanted = rng.randint(25, 80)
    end = start
    while end < len(chosen) and wanted > 0:
        wanted -= chosen[end].words
        end += 1
    return end


def _join(passages: Sequence[Passage]) -> Block:
    return paragraph(" ".join(passage.text for passage in passages), " ".join(passage.html for passage in passages))


def paragraph(text: str, markup: str | None = None) -> Block:
    return Block("p", text, html.escape(text, quote=False) if markup is None else markup)


def heading_block(text: str) -> Block:
    return Block("h2", text, html.escape(text, quote=False))


def list_block(items: Sequence[tuple[str, str]]) -> Block:
    """Items as (text, html)."""
    return Block("ul", "\n".join(f"- {text}" for text, _ in items), "\n".join(f"<li>{h}</li>" for _, h in items))


def _typographic(text: str) -> str:
    """Curly quotation marks and apostrophes for straight ones; markup without attributes stays as it is."""
    return _QUOTED.sub("\u201c\\1\u201d", text).replace("'", "\u2019")


def _change_a_word(rng: random.Random, block: Block) -> Block:
    words = block.text.split(" ")
    candidates = [index for index, word in enumerate(words) if len(word) > 3 and word.isalpha() and word.islower()]
    if candidates:
        words[rng.choice(candidates)] = rng.choice(PHRASES["replacements"])
    return paragraph(" ".join(words))


def a_title(rng: random.Random, subject: str) -> str:
    return _capital(rng.choice(PHRASES["titles"]).format(subject=subject))


def _capital(text: str) -> str:
    return text[0].upper() + text[1:]


def a_name(rng: random.Random) -> str:
    return f"{rng.choice(PHRASES['first_names'])} {rng.choice(PHRASES['last_names'])}"


def a_nick(rng: random.Random) -> str:
    return f"{rng.choice(PHRASES['first_names'])}{rng.randint(2, 99)}"


def a_date(rng: random.Random) -> datetime.date:
    return datetime.date(2012, 1, 1) + datetime.timedelta(days=rng.randrange(4400))


def long_date(date: datetime.date, language: str) -> str:
    """The date as people of that language write it."""
    month = texts.interface(language)["months"][date.month - 1]
    if language in ("zh", "ja"):
        return f"{date.year}年{month}{date.day}日"
    if language in ("es", "pt"):
        return f"{date.day} de {month} de {date.year}"
    return f"{date.day}. {month} {date.year}" if language == "de" else f"{date.day} {month} {date.year}"
