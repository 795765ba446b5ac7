"""What pages say of their use is found however they write it, and nowhere else."""

from __future__ import annotations

import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from etl.kernels import rights
from etl.kernels.rights import Rights

BY_SA = "https://creativecommons.org/licenses/by-sa/4.0/"
NOTHING = Rights((), (), None, None, (), None, None, None, ())


def head(*elements: str) -> str:
    return f"<!doctype html><html><head>{''.join(elements)}</head><body><p>Text</p></body></html>"


def body(*elements: str) -> str:
    return f"<html><head><title>T</title></head><body><p>Text</p>{''.join(elements)}</body></html>"


@pytest.mark.parametrize(
    "element",
    [
        '<meta name="robots" content="noindex, noai">',
        "<META NAME='ROBOTS' CONTENT='NOAI,NOINDEX'/>",
        "<meta content=noai,noindex name=robots>",
        '<meta\n  data-x="a > b"\n  name = "robots"\n  content = "noindex noai"\n>',
        '<meta name="robots" content="noindex&#44; noai">',
        '<meta name="robots" content="noindex"><p><meta name="robots" content="noai">',
        '<!-- a --><meta name="robots" content="noindex, noai"><!-- b -->',
        '<!--><meta name="robots" content="noindex, noai">-->',  # a whole comment of four characters
        '<meta name=description content=it\'s><meta name="robots" content="noindex, noai">',
        '<script>var a = "<!--"</script><meta name="robots" content="noindex, noai">',
    ],
)
def test_directives_are_found_however_they_are_written(element: str) -> None:
    assert rights.of_page(head(element)).robots == ("noai", "noindex")


@pytest.mark.parametrize(
    "element",
    [
        '<!-- <meta name="robots" content="noindex"> -->',
        '<!--[if IE]><meta name="robots" content="noindex"><![endif]-->',
        '<script>var s = \'<meta name="robots" content="noindex">\';</script>',
        '<SCRIPT>document.write("<meta name=robots content=noindex>")</SCRIPT>',
        '<style>/* <meta name="robots" content="noindex"> */</style>',
        '<textarea><meta name="robots" content="noindex"></textarea>',
        '<title><meta name="robots" content="noindex"></title>',
        '<meta name="description" content="robots: noindex">',
        '<metadata name="robots" content="noindex">',
        '<meta name="robots">',
        '<!-- <meta name="robots" content="noindex">',  # never closed
    ],
)
def test_what_is_no_element_of_the_page_does_not_count(element: str) -> None:
    assert rights.of_page(head(element)) == NOTHING


def test_directives_for_one_crawler_name_it() -> None:
    page = head('<meta name="googlebot" content="noindex">', '<meta name="GPTBot" content="none">')
    found = rights.of_page(page)
    assert (found.robots, found.agents) == ((), ("googlebot: noindex", "gptbot: nofollow", "gptbot: noindex"))


@pytest.mark.parametrize(
    ("lines", "robots", "agents"),
    [
        ("noindex, noarchive", ("noarchive", "noindex"), ()),
        ("googlebot: nofollow, noindex", (), ("googlebot: nofollow", "googlebot: noindex")),
        ("googlebot: nofollow\nnoai", ("noai",), ("googlebot: nofollow",)),
        ("noai, otherbot: noindex", ("noai",), ("otherbot: noindex",)),
        ("*: noai", ("noai",), ()),
        ("max-snippet: 20, max-image-preview:large", ("max-image-preview:large", "max-snippet:20"), ()),
        ("unavailable_after: Friday, 25-Jun-10 15:00:00 PST, noindex", ("noindex", "unavailable_after"), ()),
        ("unavailable_after: 25 Nov 2010 15:00:00 GMT", ("unavailable_after",), ()),
        ("none", ("nofollow", "noindex"), ()),
        ("no-ai-training, nonsense", ("no-ai-training",), ()),
    ],
)
def test_the_header_for_robots_is_read(lines: str, robots: tuple[str, ...], agents: tuple[str, ...]) -> None:
    found = rights.of_page(body(), {"x-robots-tag": lines})
    assert (found.robots, found.agents) == (robots, agents)


@pytest.mark.parametrize(
    ("header", "element", "reservation"),
    [
        ("1", "", 1),
        ("0", "", 0),
        ("", '<meta name="tdm-reservation" content="1">', 1),
        ("0", '<meta name="tdm-reservation" content="1">', 1),
        ("1", '<meta name="tdm-reservation" content="0">', 1),
        ("yes", '<meta name="tdm-reservation" content="true">', None),
    ],
)
def test_mining_is_reserved_if_head_or_page_says_so(header: str, element: str, reservation: int | None) -> None:
    assert rights.of_page(head(element), {"tdm-reservation": header}).tdm_reservation == reservation


def test_the_policy_is_that_of_the_header_before_that_of_the_page() -> None:
    page = head('<meta name="tdm-policy" content="https://example.com/a?b&amp;c">')
    assert rights.of_page(page).tdm_policy == "https://example.com/a?b&c"
    assert rights.of_page(page, {"tdm-policy": "https://example.com/h"}).tdm_policy == "https://example.com/h"


def test_usage_preferences_are_read() -> None:
    assert rights.of_page(body(), {"content-usage": "train-ai=n, Search=y"}).usage == ("search=y", "train-ai=n")


@pytest.mark.parametrize(
    ("robots", "usage", "is_against"),
    [
        ("noai", "", True),
        ("noimageai, index", "", True),
        ("no-ai-training", "", True),
        ("noml", "", True),
        ("noindex, noarchive", "", False),
        ("gptbot: noai", "", False),
        ("", "train-ai=n", True),
        ("", "train-ai=y, search=n", False),
    ],
)
def test_what_is_against_training_is_known(robots: str, usage: str, is_against: bool) -> None:
    found = rights.of_page(body(), {"x-robots-tag": robots, "content-usage": usage})
    assert rights.against_training(found) == is_against


@pytest.mark.parametrize(
    ("page", "place"),
    [
        (body(f'<footer><a rel="license" href="{BY_SA}">CC</a></footer>'), "rel"),
        (body(f'<A HREF="{BY_SA}" title="a > b" REL="nofollow license noopener">'), "rel"),
        (body(f"<a href={BY_SA} rel=license>"), "rel"),
        (body(f'<a itemprop="license" href="{BY_SA}deed.de">'), "rel"),
        (body(f'<a property="cc:license" href="{BY_SA}">'), "rel"),
        (head('<link rel="license" href="//www.creativecommons.org/licenses/by-sa/4.0/legalcode">'), "rel"),
        (head(f'<meta name="dcterms.rights" content="Free, {BY_SA}">'), "meta"),
        (head('<meta name="DC.Rights" content="CC BY-SA 4.0">'), "meta"),
        (head('<meta content="Creative Commons Attribution-ShareAlike 4.0 International" name="license">'), "meta"),
        (head(f'<script type="application/ld+json">{{"@type": "Article", "license": "{BY_SA}"}}</script>'), "jsonld"),
        (
            head(
                '<script type="application/ld+json">'
                '{"license":{"@type":"CreativeWork","@id":"https:\\/\\/creativecommons.org\\/licenses\\/by-sa\\/4.0\\/"}}</script>'
            ),
            "jsonld",
        ),
        (body(f'<a href="{BY_SA}">CC</a>'), "link"),
        (body('<a href="https:&#x2F;&#x2F;creativecommons.org&#x2F;licenses&#x2F;by-sa&#x2F;4.0">'), "link"),
        (body(f"<p>Licensed under {BY_SA}.</p>"), "text"),
        (body("<p>See http://CreativeCommons.org/licenses/by-sa/4.0.</p>".replace("CreativeC", "Creativec")), "text"),
    ],
)
def test_a_licence_is_found_and_its_place_told(page: str, place: str) -> None:
    found = rights.of_page(page)
    assert (found.license, found.license_place, found.licenses) == ("cc-by-sa-4.0", place, ("cc-by-sa-4.0",))
    assert found.license_url in (BY_SA, None)


def test_a_licence_may_stand_in_the_head_of_the_response() -> None:
    link = '<https://example.com/x>; rel=next, <https://creativecommons.org/publicdomain/zero/1.0/>; rel="license"'
    found = rights.of_page(body(), {"link": link})
    assert (found.license, found.license_place) == ("cc0-1.0", "rel")


@pytest.mark.parametrize(
    ("address", "name"),
    [
        ("https://spdx.org/licenses/MIT", "mit"),
        ("http://spdx.org/licenses/GPL-2.0-only.html", "gpl-2.0-only"),
        ("https://spdx.org/licenses/MIT%20OR%20Apache-2.0", "mit or apache-2.0"),
        ("https://spdx.org/licenses/CC-BY-4.0.json", "cc-by-4.0"),
        ("https://www.gutenberg.org/license", rights.OTHER),
        ("https://spdx.org/licenses/", rights.OTHER),
        ("/terms", None),
    ],
)
def test_a_licence_of_a_link_header_has_its_spdx_name(address: str, name: str | None) -> None:
    found = rights.of_text("int x;", {"link": f'<{address}>; rel="license"'})
    assert (found.license, found.license_url) == ((name, address) if name else (None, None))


def test_plain_text_states_a_licence_by_address_and_no_more_by_elements() -> None:
    code = head('<meta name="robots" content="noai">', f"<!-- <a rel=license href={BY_SA}> -->")
    assert rights.of_text(code)._replace(license_url=BY_SA) == NOTHING._replace(
        license="cc-by-sa-4.0", license_url=BY_SA, license_place="text", licenses=("cc-by-sa-4.0",)
    )
    known = rights.of_text(code, {"link": "<https://spdx.org/licenses/MIT>; rel=license"})
    assert (known.license, known.license_place) == ("mit", "rel")


def test_statements_of_rights_name_licences() -> None:
    assert rights.named("This is free: CC BY-NC 4.0.") == "cc-by-nc-4.0"
    assert rights.named("All rights reserved") is None


@pytest.mark.parametrize(
    "page",
    [
        body(f"<!-- <a rel=license href={BY_SA}> -->"),
        body(f'<script>var url = "{BY_SA}", license = 1;</script>'),
        head(f'<script type="application/ld+json">{{"about": "{BY_SA}"}}</script>'),
        head(f'<meta name="description" content="All about {BY_SA}">'),
        body('<img src="https://licensebuttons.net/l/by/4.0/88x31.png">'),
        body(f'<iframe src="{BY_SA}"></iframe>'),
        body('<a href="https://creativecommons.org/">'),
        body('<a href="https://creativecommons.org/licenses/">'),
        body('<a href="https://creativecommons.org/licenses/list/en">'),
        body('<textarea><a rel="license" href="https://creativecommons.org/licenses/by/4.0/"></textarea>'),
    ],
)
def test_a_licence_that_is_no_statement_does_not_count(page: str) -> None:
    assert rights.of_page(page) == NOTHING


@pytest.mark.parametrize(
    ("path", "name"),
    [
        ("licenses/by/4.0/", "cc-by-4.0"),
        ("licenses/by/3.0/us/deed.en", "cc-by-3.0"),
        ("licenses/by-nd-nc/1.0", "cc-by-nc-nd-1.0"),
        ("licenses/by-nc-sa", "cc-by-nc-sa"),
        ("licenses/sampling+/1.0/", "cc-sampling+-1.0"),
        ("licenses/publicdomain/", "publicdomain"),
        ("publicdomain/zero/1.0/deed.fr", "cc0-1.0"),
        ("publicdomain/mark/1.0/", "publicdomain"),
    ],
)
def test_names_of_licences_are_normal(path: str, name: str) -> None:
    assert rights.of_page(body(f'<a rel="license" href="http://creativecommons.org/{path}">')).license == name


def test_the_surest_place_wins_and_there_the_licence_that_allows_least() -> None:
    links = '<a href="http://creativecommons.org/licenses/by-nc-nd/4.0/">'
    rels = "".join(
        f'<a rel="license" href="http://creativecommons.org/{path}/">'
        for path in ("publicdomain/zero/1.0", "licenses/by/4.0", "licenses/by-sa/3.0")
    )
    found = rights.of_page(body(links, rels))
    assert (found.license, found.license_place) == ("cc-by-sa-3.0", "rel")
    assert found.licenses == ("cc-by-4.0", "cc-by-nc-nd-4.0", "cc-by-sa-3.0", "cc0-1.0")


def test_headers_come_back_from_the_column() -> None:
    lines = "x-robots-tag: googlebot: nofollow\nx-robots-tag: noai\ntdm-reservation: 1"
    assert rights.headers(lines) == {"x-robots-tag": "googlebot: nofollow\nnoai", "tdm-reservation": "1"}
    assert rights.headers(None) == {}


PIECES = st.sampled_from(
    [
        "<meta",
        " name=",
        '"',
        "'",
        "robots",
        "=",
        ">",
        "<!--",
        "-->",
        "<script>",
        "</script>",
        " ",
        BY_SA,
        "<a href=",
        "&#",
    ]
)


@settings(max_examples=150, deadline=None)
@given(st.lists(PIECES | st.text(max_size=5), max_size=40).map("".join))
def test_any_text_is_read(text: str) -> None:
    headers = {"x-robots-tag": text, "link": text, "content-usage": text, "tdm-policy": text}
    for found in (rights.of_page(text, headers), rights.of_text(text, headers)):
        assert found.license_place in (None, *rights.PLACES)
        assert (found.license is None) == (found.license_place is None) == (not found.licenses)


BAIT = {
    "metas without an end": '<meta name="robots" content=',
    "meta elements": '<meta name="robots" content="noai">',
    "equals signs": "<meta =\"'",
    "quotes": "<meta name=\"' robots=",
    "addresses": BY_SA,
    "links": f'<a rel="license" href="{BY_SA}"',
    "comments that do not end": "<!-- <script ",
    "scripts that do not end": '<script type="application/ld+json" ',
    "keys": '<script type="application/ld+json">"license":{"license":"' + BY_SA,
    "spaces": "<meta name" + " " * 50,
    "letters": "<meta bot" + "a" * 50,
}


@pytest.mark.parametrize("name", BAIT)
def test_time_grows_with_the_page_and_no_faster(name: str) -> None:
    def seconds(size: int) -> float:
        page = BAIT[name] * (size // len(BAIT[name]))
        best = float("inf")
        for _ in range(2):
            start = time.process_time()
            rights.of_page(page, {"x-robots-tag": page, "link": page})
            best = min(best, time.process_time() - start)
        return best

    # Eight times the page in less than 24 times the time; the square would be 64 times.
    assert seconds(1_600_000) < max(24 * seconds(200_000), 0.15)
