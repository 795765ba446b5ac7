"""What kinds of pages the sample holds, how many of each, and what a good curator does with them.

Pages come in decks of `DECK`, each with the same number of every kind in an order of its own,
so that every kind is there from the smallest sample on and any run of pages is a fair mixture.
"""

import functools
import random
from dataclasses import dataclass

# Stages by which a record may be dropped for what it is, whatever its text says.
CAPTURES, DOCUMENTS, LANGUAGE, DUPLICATES = "captures", "documents", "document_language", "duplicate_clusters"

# Columns of document_quality that tell of little text, and of text that is no prose.
FEW_WORDS = ("words", "c4_sentences", "fineweb_sentences")
NO_PROSE = (
    *FEW_WORDS,
    "stop_words",
    "alpha_word_ratio",
    "mean_word_length",
    "punctuated_line_ratio",
    "short_line_ratio",
    "newline_word_ratio",
    "fineweb_punctuated_line_ratio",
    "fineweb_short_line_ratio",
    "fineweb_newline_word_ratio",
)
REPETITION = (
    "duplicate_line_ratio",
    "duplicate_line_char_ratio",
    "repeated_line_char_ratio",
    "fineweb_repeated_line_char_ratio",
    "duplicate_paragraph_ratio",
    "duplicate_paragraph_char_ratio",
    "top_2gram_char_ratio",
    "top_3gram_char_ratio",
    "top_4gram_char_ratio",
    *(f"duplicate_{n}gram_char_ratio" for n in range(5, 11)),
)


@dataclass(frozen=True)
class Kind:
    """Pages of one kind.

    `rules` are what may legitimately drop such a page: a stage, or a column that the rule
    reads. A page that should be dropped should be dropped by one of them; where a page should
    be kept, they are the reasons for which dropping it is no mistake either.
    """

    name: str
    count: int  # in a deck
    decision: str
    rules: tuple[str, ...] = ()


KINDS = (
    # Good prose in English.
    Kind("article", 114, "kept"),
    Kind("forum_thread", 14, "kept"),
    Kind("product", 8, "kept"),
    # Good prose that today's recipe does not want, or has already.
    Kind("other_language", 36, "dropped", (LANGUAGE,)),
    Kind("exact_duplicate", 18, "dropped", (DUPLICATES,)),
    # How like its original each is, the truth says; a recipe says from where on one of the two should go.
    Kind("near_duplicate", 18, "kept", (DUPLICATES,)),
    # Pages without an article.
    Kind("listing", 8, "dropped", (DOCUMENTS, *NO_PROSE, *REPETITION)),
    Kind("navigation", 8, "dropped", (DOCUMENTS, *NO_PROSE, *REPETITION)),
    Kind("too_short", 8, "dropped", (DOCUMENTS, LANGUAGE, *FEW_WORDS, *REPETITION)),
    Kind("bullet_list", 5, "dropped", ("bullet_line_ratio",)),
    Kind("repeated_lines", 5, "dropped", REPETITION),
    Kind("keyword_spam", 5, "dropped", (LANGUAGE, *NO_PROSE, *REPETITION)),
    Kind("lorem_ipsum", 4, "dropped", (LANGUAGE, "lorem_ipsum", "c4_lorem_ipsum", "stop_words")),
    Kind("javascript_required", 4, "dropped", (DOCUMENTS, LANGUAGE, "c4_policy_lines", *NO_PROSE, *REPETITION)),
    Kind("code_dump", 4, "dropped", (LANGUAGE, "curly_brackets", "c4_curly_brackets", *NO_PROSE, *REPETITION)),
    Kind("symbol_spam", 4, "dropped", (LANGUAGE, "symbol_word_ratio", *NO_PROSE)),
    Kind("long_word", 3, "dropped", (DOCUMENTS, LANGUAGE, "longest_word", *NO_PROSE)),
    Kind("ellipsis_teasers", 4, "dropped", ("ellipsis_line_ratio", "symbol_word_ratio")),
    # Good prose in broken pages; an extractor may fail on some of them.
    Kind("unclosed_tags", 2, "kept"),
    Kind("nested_tables", 1, "kept", (DOCUMENTS, "punctuated_line_ratio", *REPETITION)),
    Kind("nul_bytes", 1, "kept", (DOCUMENTS, *FEW_WORDS)),
    Kind("wrong_charset", 1, "kept", (DOCUMENTS, LANGUAGE)),
    Kind("truncated_payload", 1, "kept"),
    Kind("deep_nesting", 1, "kept", (DOCUMENTS, *NO_PROSE)),
    Kind("huge_page", 1, "kept", (DOCUMENTS,)),
    Kind("empty_body", 1, "dropped", (CAPTURES, DOCUMENTS)),
    Kind("binary_as_html", 1, "dropped", (CAPTURES, DOCUMENTS, LANGUAGE, *NO_PROSE)),
    # Good prose, encoded on its way.
    Kind("gzip_body", 2, "kept"),
    Kind("brotli_body", 1, "kept"),
    Kind("chunked_body", 2, "kept"),
    Kind("chunked_gzip_body", 1, "kept"),
    Kind("wrong_content_encoding", 1, "kept", (CAPTURES,)),
    # Not a page.
    Kind("pdf", 1, "dropped", (CAPTURES,)),
    Kind("json", 1, "dropped", (CAPTURES,)),
    Kind("png", 1, "dropped", (CAPTURES,)),
    Kind("css", 1, "dropped", (CAPTURES,)),
    Kind("xml_feed", 1, "dropped", (CAPTURES,)),
    Kind("plain_text", 1, "kept", (CAPTURES,)),
    Kind("status_301", 1, "dropped", (CAPTURES,)),
    Kind("status_404", 1, "dropped", (CAPTURES,)),
    Kind("status_500", 1, "dropped", (CAPTURES,)),
    Kind("status_204", 1, "dropped", (CAPTURES,)),
    Kind("revisit", 1, "dropped", (CAPTURES,)),
    Kind("robots_txt", 1, "dropped", (CAPTURES, LANGUAGE, *NO_PROSE)),
    Kind("malformed_header", 1, "kept", (CAPTURES,)),
)
BY_NAME = {kind.name: kind for kind in KINDS}
DECK = sum(kind.count for kind in KINDS)

# Planted once, in a file and not among the pages: see `etl.sample.archive`.
CORRUPT_MEMBER = Kind("corrupt_member", 0, "dropped", (CAPTURES,))
BAD_LENGTH = Kind("bad_length", 0, "dropped", (CAPTURES,))
CUT_RECORD = Kind("cut_record", 0, "dropped", (CAPTURES,))
DAMAGES = (CORRUPT_MEMBER, BAD_LENGTH, CUT_RECORD)


@functools.lru_cache(maxsize=4096)
def deck(seed: int, number: int) -> tuple[Kind, ...]:
    """The kinds of pages DECK * number, and so on. The first is an article, so that a copy has something to copy."""
    cards = [kind for kind in KINDS for _ in range(kind.count)]
    first = cards.pop(0)
    random.Random(f"{seed}/deck/{number}").shuffle(cards)
    return (first, *cards)


def kind_of(seed: int, index: int) -> Kind:
    return deck(seed, index // DECK)[index % DECK]
