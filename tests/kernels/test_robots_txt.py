"""robots.txt is read as RFC 9309 says, in bounded time."""

from __future__ import annotations

import itertools
import time
import urllib.robotparser

import pytest
from hypothesis import given
from hypothesis import strategies as st

from etl.kernels import robots_txt

# The example of RFC 9309, section 5.1, and one of a merge, section 2.2.1.
EXAMPLE = """\
User-Agent: *
Disallow: *.gif$
Disallow: /example/
Allow: /publications/

User-Agent: foobot
Disallow:/
Allow:/example/page.html
Allow:/example/allowed.gif

User-Agent: barbot
User-Agent: bazbot
Disallow: /example/page.html

User-Agent: quxbot
"""


@pytest.mark.parametrize(
    ("agent", "path", "is_allowed"),
    [
        ("CCBot/2.0", "/", True),
        ("CCBot/2.0", "/image.gif", False),
        ("CCBot/2.0", "/image.gif?size=2", True),
        ("CCBot/2.0", "/example/page", False),
        ("CCBot/2.0", "/publications/a.gif", True),
        ("FooBot", "/", False),
        ("foobot/1.0", "/example/page.html", True),
        ("foobot", "/example/allowed.gif", True),
        ("BarBot", "/example/page.html", False),
        ("bazbot", "/example/", True),
        ("quxbot", "/example/", True),
        ("foobot", "/robots.txt", True),
    ],
)
def test_the_example_of_the_standard(agent: str, path: str, is_allowed: bool) -> None:
    assert robots_txt.rules(EXAMPLE).allowed(agent, path) == is_allowed


@pytest.mark.parametrize(
    ("pattern", "path", "fits"),
    [
        ("/fish", "/fishheads?id=1", True),
        ("/fish", "/Fish", False),
        ("/fish*", "/fish", True),
        ("/*.php", "/a/b.php5?x", True),
        ("/*.php$", "/a.php?x", False),
        ("/*.php$", "/a.php.php", True),
        ("/a*b*c", "/axxbxxc/d", True),
        ("/a*b$", "/ab-b", True),
        ("/ab*b$", "/ab", False),
        ("/$", "/", True),
        ("/$", "/a", False),
        ("fish", "/fish", True),
        ("/foo/bar/ツ", "/foo/bar/%E3%83%84", True),
        ("/foo/bar/%e3%83%84", "/foo/bar/ツ", True),
        ("/%7ejoe", "/~joe", True),
        ("/a%2fb", "/a/b", False),
        ("/a%2fb", "/a%2Fb", True),
    ],
)
def test_patterns_fit_as_the_standard_says(pattern: str, path: str, fits: bool) -> None:
    assert robots_txt.rules(f"user-agent: *\ndisallow: {pattern}").allowed("any", path) != fits


def test_groups_of_one_crawler_are_one_and_the_longest_rule_counts() -> None:
    text = (
        "user-agent: a\ndisallow: /x\n\nuser-agent: b\ndisallow: /\n\nUser-agent: A\ncrawl-delay: 1\nallow: /x/y # why"
    )
    robots = robots_txt.rules(text)
    assert [robots.allowed("a", path) for path in ("/x", "/x/y", "/z")] == [False, True, True]
    assert robots.shut_out() == ("b",)
    assert robots_txt.rules("user-agent: *\nallow: /p\ndisallow: /p").allowed("a", "/p")


def test_other_lines_do_not_end_the_crawlers_of_a_group() -> None:
    robots = robots_txt.rules("user-agent: a\nsitemap: https://example.com/s\nuser-agent: b\ndisallow: /\n")
    assert robots.shut_out() == ("a", "b")
    assert robots.sitemaps == ("https://example.com/s",)


def test_statements_about_use_are_kept() -> None:
    text = "\ufeffUser-Agent: *\nContent-Signal: search=yes, ai-train=no\nContent-Usage: train-ai=n\nAllow: /"
    assert robots_txt.rules(text).usage == ("search=yes, ai-train=no", "train-ai=n")


def test_preferences_are_those_of_all_lines_also_of_some_paths() -> None:
    text = "Content-Signal: search=yes, ai-train = no\nContent-Usage: /images/ train-ai=n\nContent-Usage: nothing\n"
    assert robots_txt.rules(text).preferences == ("ai-train=no", "search=yes", "train-ai=n")


def test_others_that_no_group_names_are_shut_out_with_all() -> None:
    text = "user-agent: *\ndisallow: /private\n\nuser-agent: gptbot\nuser-agent: ccbot\ndisallow: /\nallow: /press\n"
    robots = robots_txt.rules(text)
    others = ("claudebot", "ccbot")
    assert robots.shut_out("/press", others) == ()
    assert robots.shut_out("/", others) == ("ccbot", "gptbot")
    assert robots.shut_out("/private/a?b", others) == ("*", "ccbot", "claudebot", "gptbot")


@given(st.text(alphabet="user-agent:dislow*$ /b\n", max_size=200), st.text(alphabet="/a*$b", max_size=8))
def test_who_is_shut_out_may_not_fetch(text: str, path: str) -> None:
    robots = robots_txt.rules(text)
    others = ("a", "ccbot")
    refused = robots.shut_out(path, others)
    assert refused == tuple(sorted(name for name in {*robots.groups, "*", *others} if not robots.allowed(name, path)))


@given(st.text(max_size=200), st.text(max_size=20))
def test_any_text_is_read(text: str, path: str) -> None:
    assert robots_txt.rules(text).allowed("CCBot", path) in (True, False)


# Two slashes at the start would be read as a host there.
PATHS = st.lists(st.sampled_from(["a", "b", "/a"]), min_size=1, max_size=5).map(lambda parts: "/a" + "".join(parts))


@given(PATHS, PATHS)
def test_one_rule_without_wildcards_is_what_the_standard_library_says(pattern: str, path: str) -> None:
    text = f"User-agent: *\nDisallow: {pattern}\n"
    oracle = urllib.robotparser.RobotFileParser()
    oracle.parse(text.splitlines())
    assert robots_txt.rules(text).allowed("a", path) == oracle.can_fetch("a", f"https://example.com{path}")


def test_stars_cost_no_powers() -> None:
    robots = robots_txt.rules("user-agent: *\ndisallow: /" + "*a" * 200 + "*b$\n")
    start = time.process_time()
    assert robots.allowed("CCBot", "/" + "a" * 100_000)
    assert not robots.allowed("CCBot", "/" + "a" * 100_000 + "b")
    assert time.process_time() - start < 1


def test_a_file_of_crawlers_costs_no_square() -> None:
    names = ["".join(letters) for letters in itertools.product("abcdefghijklmnopqrstuvwxyz", repeat=3)]
    start = time.process_time()
    robots = robots_txt.rules("".join(f"user-agent: {name}\n" for name in names) + "disallow: /\n" * 15_000)
    assert not robots.allowed(names[0], "/")
    assert time.process_time() - start < 2
