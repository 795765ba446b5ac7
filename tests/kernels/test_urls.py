"""Addresses: block lists cover what they should and nothing beside it, and odd lines are told, not passed over."""

from __future__ import annotations

import gzip
import re
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from etl.errors import ConfigError
from etl.kernels import urls
from etl.kernels.urls import Lists

LABEL = st.from_regex(r"[a-z][a-z0-9]{0,8}", fullmatch=True)
DOMAIN = st.lists(LABEL, min_size=1, max_size=3).map(lambda labels: ".".join([*labels, "com"]))
NO_LISTS = Lists.load([])
SHIPPED = Lists.load(["adult"])


def lists(folder: Path, **files: str) -> Lists:
    """Lists of one category; a name is that of a file."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in files.items():
        (folder / name).write_text(text, encoding="utf-8")
    return Lists.load([folder])


def signals(url: str | None, of: Lists) -> dict[str, Any]:
    (row,) = urls.batch([url], of).to_pylist()
    return dict(row)


@pytest.mark.parametrize(
    ("url", "is_listed"),
    [
        ("http://example.com", True),
        ("https://EXAMPLE.com./a", True),
        ("https://www.deep.example.com:8080/a?b#c", True),
        ("https://user:password@example.com/", True),
        ("https://example.com@other.org/", False),
        ("https://other.org/example.com", False),
        ("https://notexample.com/", False),
        ("https://example.com.other.org/", False),
        ("https://example.co/", False),
        ("https://ex%61mple.com/", True),
        ("\\\\example.com", False),
        ("http:\\\\example.com\\path", True),  # browsers read a backslash as a slash
        ("http://192.0.2.7/", True),
        ("http://1.192.0.2.7/", False),
        ("http://[2001:db8::1]:80/", True),
        ("https://bücher.example/", True),
        ("https://sub.xn--bcher-kva.example/", True),
        ("https://мир.рф/", True),
        ("https://anything.adult/", True),
        ("https://adult.example/", False),
        ("", False),
        ("mailto:a@example.com", False),
    ],
)
def test_a_listed_domain_covers_itself_and_what_is_below_it(tmp_path: Path, url: str, is_listed: bool) -> None:
    text = "# ours\n*.example.com\r\n192.0.2.7\n2001:db8::1\nBÜCHER.example  # a shop\n\nxn--h1ahn.xn--p1ai\n.adult\n"
    found = signals(url, lists(tmp_path / "shops", domains=text))
    assert found["url_list"] == ("shops" if is_listed else "none")
    assert (found["url_list_entry"] is not None) == is_listed


@settings(max_examples=40, deadline=None)
@given(st.sets(DOMAIN, max_size=8), st.lists(DOMAIN, max_size=8))
def test_lookups_agree_with_the_definition(listed: set[str], hosts: list[str]) -> None:
    of = Lists(("l",), *urls._sorted([urls._hash(sorted(listed))], [urls.np.zeros(len(listed), urls.np.uint16)]), *NO)
    found = urls.batch([f"https://{host}/" for host in hosts], of).column("url_list").to_pylist()
    assert [name == "l" for name in found] == [
        any(host == domain or host.endswith(f".{domain}") for domain in listed) for host in hosts
    ]


NO = (NO_LISTS.urls, NO_LISTS.url_lists, NO_LISTS.url_hosts)


@pytest.mark.parametrize(
    ("url", "is_listed"),
    [
        ("https://example.com/blog", True),
        ("https://www.example.com/Blog/", True),
        ("https://example.com/blog/2024/a.html?b=c", True),
        ("https://example.com/blog?page=2", True),
        ("https://example.com/blogs", False),
        ("https://example.com/", False),
        ("https://other.example.com/blog", False),
        ("https://example.org/view?id=7", True),
        ("https://example.org/view?id=8", False),
        ("https://example.org/view", False),
        ("https://example.net/any/where", True),
        ("https://example.net/", True),
        ("https://example.info/caf%C3%A9/menu", True),
    ],
)
def test_a_listed_url_covers_what_is_below_its_path(tmp_path: Path, url: str, is_listed: bool) -> None:
    text = "http://www.example.com:80/blog/\nexample.org/view?id=7\nexample.net/\nexample.info/café\n"
    assert signals(url, lists(tmp_path, urls=text))["url_list"] == (tmp_path.name if is_listed else "none")


def test_the_first_list_that_has_it_names_it(tmp_path: Path) -> None:
    for name, kind, text in [("b", "domains", "example.com"), ("a", "domains", "www.example.com"), ("c", "urls", "")]:
        (tmp_path / name).mkdir()
        (tmp_path / name / kind).write_text(text)
    (tmp_path / "c" / "urls").write_text("example.com/x\nexample.org/x")
    everything, turned = Lists.load([tmp_path]), Lists.load([tmp_path / "b", tmp_path])
    assert everything.names == ("a", "b", "c")
    assert signals("https://www.example.com/x", everything)["url_list"] == "a"
    assert signals("https://www.example.com/x", turned)["url_list"] == "b"
    assert signals("https://www.example.org/x", turned)["url_list"] == "c"
    assert signals("https://www.example.com/x", turned)["url_list_entry"] == "example.com"


def test_files_may_be_compressed_and_have_any_name(tmp_path: Path) -> None:
    (tmp_path / "own.hosts.txt.gz").write_bytes(
        gzip.compress(b"0.0.0.0 ads.example www.ads.example\n127.0.0.1 localhost")
    )
    (tmp_path / "hard_words.txt").write_text("Spam\n")
    of = Lists.load([tmp_path / "own.hosts.txt.gz", tmp_path / "hard_words.txt"])
    assert (of.names, of.domains.size, of.hard_words) == (("own", tmp_path.name), 2, ("spam",))
    assert signals("https://ads.example/", of)["url_list"] == "own"


def test_every_odd_line_is_told_with_its_file_and_number(tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as told:
        lists(
            tmp_path,
            domains="good.example\nhttps://a.example/\na b\nwords\nex ample.com\n-\n",
            urls="a.example\nb c/d\n",
        )
    message = str(told.value)
    assert f"{tmp_path}/domains: line 2: 'https://a.example/' is a URL, wanted a host name" in message
    assert "line 3: 'a b' has more than one word" in message
    assert "line 4: 'words' has no dot and is no top-level domain" in message
    assert f"{tmp_path}/urls: line 1: 'a.example' has no path" in message
    assert "line 2: 'b c/d' has a space" in message
    assert "line 1: 'good" not in message


def test_of_many_odd_lines_twenty_are_told(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"line 20: .*; and 980 more lines$") as told:
        lists(tmp_path, hard_words="two words\n" * 1000)
    assert str(told.value).count("wanted one word") == urls.MAX_PROBLEMS


@pytest.mark.parametrize("content", [b"\x1f\x8b\x08 and no more", b"no gzip"])
def test_a_damaged_file_is_told(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "domains.gz").write_bytes(content)
    with pytest.raises(ConfigError, match=r"domains\.gz: cannot be read: "):
        Lists.load([tmp_path])


def test_bytes_that_are_no_text_are_an_odd_line(tmp_path: Path) -> None:
    (tmp_path / "domains").write_bytes(b"a.example\n\xff\xfe.example\n")
    with pytest.raises(ConfigError, match=r"line 2: .* is no host name"):
        Lists.load([tmp_path])


def test_a_list_that_is_missing_or_has_nothing_is_told(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"there is no list 'adlt'.* one of \['adult'\]"):
        Lists.load(["adlt"])
    with pytest.raises(ConfigError, match="has no list, wanted a file named domains"):
        Lists.load([tmp_path])


def test_a_changed_file_has_another_digest(tmp_path: Path) -> None:
    lists(tmp_path / "l", domains="a.example\n", hard_words="spam\n")
    before = urls.digests([tmp_path / "l"])
    assert [line.split()[0] for line in before] == ["l/domains", "l/hard_words"]
    (tmp_path / "l" / "hard_words").write_text("ham\n")
    after = urls.digests([tmp_path / "l"])
    assert (before[0] == after[0], before[1] == after[1]) == (True, False)


WORDS = {"hard_words": "porn\n야동\nпюй\n", "soft_words": "nude\nsexy\n", "sub_words": "freeporn\nsexcam\n"}


@pytest.mark.parametrize(
    ("url", "counts", "found"),
    [
        ("https://example.com/porn/Porn-PORN", (1, 0, 0), "porn"),
        ("https://example.com/pornic/sussex", (0, 0, 0), None),
        ("https://nude.example.com/sexy_nude?q=sexy", (0, 2, 0), "nude sexy"),
        ("https://my.free-porn.example.com/", (1, 0, 1), "porn freeporn"),
        ("https://example.com/freeporn", (0, 0, 0), None),
        (f"https://example.com/{quote('ПЮЙ видео')}", (1, 0, 0), "пюй"),
        ("https://야동.example/", (1, 0, 0), "야동"),
        ("https://xn--2q1bl84a.example/", (1, 0, 0), "야동"),
        ("https://example.com/?a=%70%6Frn", (1, 0, 0), "porn"),
    ],
)
def test_words_are_counted_once_each(tmp_path: Path, url: str, counts: tuple[int, int, int], found: str | None) -> None:
    row = signals(url, lists(tmp_path, **WORDS))
    assert (row["url_hard_words"], row["url_soft_words"], row["url_sub_words"]) == counts
    assert row["url_words_found"] == found


@pytest.mark.parametrize(
    ("url", "is_ip"),
    [
        ("http://192.0.2.7/a", 1),
        ("http://user@192.0.2.7:80", 1),
        ("http://[::1]/", 1),
        ("http://3221226219/", 1),
        ("http://0xC0.0x0.0x2.7/", 1),
        ("http://192.0.2.7.example.com/", 0),
        ("http://example.com/192.0.2.7", 0),
        ("http://4chan.example/", 0),
        ("not a url", 0),
    ],
)
def test_a_host_that_is_an_address_is_known(url: str, is_ip: int) -> None:
    assert signals(url, NO_LISTS)["url_host_is_ip"] == is_ip


@pytest.mark.parametrize(
    ("path", "kind"),
    [
        ("/wp-login.php?redirect_to=x", "login"),
        ("/account/login/", "login"),
        ("/users/sign_in", "login"),
        ("/blog/login-problems-solved", "none"),
        ("/cash/register", "none"),
        ("/checkout", "cart"),
        ("/shop/shoes?add-to-cart=12", "cart"),
        ("/the-cart-before-the-horse", "none"),
        ("/search?q=lakes", "search"),
        ("/suche/", "search"),
        ("/?s=lakes", "search"),
        ("/research/lakes?s=1", "none"),
        ("/in-search-of-lost-time", "none"),
        ("/search/label/lakes", "search"),
        ("/feed/", "feed"),
        ("/news/index.rss", "feed"),
        ("/how-to-feed-cats", "none"),
        ("/w/index.php?title=Lake&action=edit", "edit"),
        ("/post?replytocom=12", "edit"),
        ("/wiki/Diff", "none"),
        ("/a?share=twitter", "share"),
        ("/wp-json/oembed/1.0/embed", "api"),
        ("/2024/05/lakes/print/", "print"),
        ("/blueprint", "none"),
        ("/print-shop", "none"),
        ("/", "none"),
    ],
)
def test_paths_that_are_never_documents_are_named(path: str, kind: str) -> None:
    assert signals(f"https://example.com{path}", NO_LISTS)["url_path_kind"] == kind


@settings(max_examples=40, deadline=None)
@given(st.lists(st.none() | st.text(max_size=60) | st.text(max_size=40).map("https://{}/".format), max_size=6))
def test_any_text_is_a_row_that_does_not_depend_on_those_beside_it(given_urls: list[str | None]) -> None:
    batch = urls.batch(given_urls, SHIPPED)
    assert batch.schema == urls.SCHEMA
    assert batch.to_pylist() == [signals(url, SHIPPED) for url in given_urls]


def test_no_urls_are_no_rows() -> None:
    assert urls.batch([], NO_LISTS).num_rows == 0
    assert urls.batch(pa.array([None], pa.string()), NO_LISTS).to_pylist()[0]["url_list"] == "none"


def test_the_shipped_words_leave_innocent_addresses_alone() -> None:
    innocent = [
        "https://www.essex.ac.uk/department/sex-and-gender-studies",
        "https://www.middlesexhospital.example/breast-cancer-screening",
        "https://www.ville-pornic.example/tourisme",
        "https://birds.example/great-tits-and-blue-tits",
        "https://news.example/philippines/milf-peace-talks-2014",
        "https://wiki.example/wiki/Super_Bowl_XXX",
        "https://health.example/lgbt/gay-mens-health",
        "https://astronomy.example/amateur/webcam-imaging",
        "https://cars.example/ford-escort-review",
    ]
    for row in urls.batch(innocent, SHIPPED).to_pylist():
        assert (row["url_hard_words"], row["url_sub_words"]) == (0, 0), row
        assert row["url_soft_words"] < 2, row


def test_the_schema_is_that_of_the_table() -> None:
    ddl = (Path(__file__).parents[2] / "schemas" / "url_signals.sql").read_text()
    declared = re.findall(r"^  (\w+) +(STRING|BIGINT)", ddl, re.MULTILINE)
    types = {"STRING": pa.string(), "BIGINT": pa.int64()}
    assert [(name, types[kind]) for name, kind in declared][2:] == [(f.name, f.type) for f in urls.SCHEMA]
