"""Personal data: what is found in texts written for it, what is not, and the laws of spans."""

import random

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from etl.kernels import pii

# One text a line; what is to be found stands in brackets of its kind.
LABELLED = """
Write to <email>jane.doe+news@example.co.uk</email>, please.
<email>info@münchen.example.com</email>
Mail: '<email>o.neil_2@sub-domain.example.org</email>'.
Contact <<email>a.b@example.com</email>> or <email>c@example.net</email>;
The server at <ip_address>93.184.216.34</ip_address> did not answer.
ping <ip_address>8.8.8.8</ip_address> and <ip_address>2606:4700:4700::1111</ip_address>
from [<ip_address>2a00:1450:4001:80b:0:0:0:200e</ip_address>]:443
Call <phone>(415) 555-2671</phone> today.
Phone: <phone>415-555-2671</phone>, fax <phone>+1 415 555 2672</phone>
Toll free <phone>1-800-555-0199</phone>, <phone>(800)\u00a0555-0198</phone>, or <phone>877/860-2904</phone>
About<phone>(628) 400-5961</phone>
Tel.: <phone>030 / 2325 786</phone>
Telefon <phone>+49 (0)30 901820</phone>
T\u00e9l. <phone>01 42 68 53 00</phone>
Rufen Sie an: <phone>0711 289-88229</phone>.
Our number is <phone>020 7946 0958</phone>.
WhatsApp <phone>+971505017371</phone>
\u0422\u0435\u043b\u0435\u0444\u043e\u043d: <phone>8 (495) 123-45-67</phone>
Visa <card>4111 1111 1111 1111</card> expires soon.
Amex <card>3782 822463 10005</card>
card <card>5555-5555-5555-4444</card>
number <card>6011111111111117</card>
IBAN: <iban>DE89 3704 0044 0532 0130 00</iban> BIC COBADEFF
<iban>GB29NWBK60161331926819</iban>
Konto <iban>MT84 MALT 0110 0001 2345 MTLC AST0 01S</iban>
Version 10.0.19041.1 of Windows, Chrome/120.0.6099.129, v2.14.3.1
See section 3.2.1.4 and chapter 12.4.5.6.
Hosts 10.0.0.1, 127.0.0.1, 192.168.1.254, 169.254.1.1, 224.0.0.251, 256.1.1.1 and 2001:db8::1, fe80::1, ::1
std::vector<a::b> at 12:34:56 on 2024-05-06 10:20:30
ISBN 978-3-16-148410-0, ISBN-10: 0-306-40615-2, ISSN 2049-3630, doi:10.1000/182
On 01.02.2020, 2020-02-01, 12/31/1999 and from 1995-2003.
It costs $1,234,567.89, 1 234 567 EUR or 4.999.999 kr.
Order no. 4155552671, invoice #2023-000-1234, ref 020 7946 0958
Population 8 336 817 in 2019, pi 3.14159265358979, 1234567890
4111 1111 1111 1112 is no card, nor is 1234 5678 9012 3456.
DE89 3704 0044 0532 0130 01 is no account, nor US12 3456 7890 1234.
@someone said image@2x.png and user@localhost, a@b.notadomain
Boston, MA 02110-1301
scores 21-19, 15-21, 21-18; coordinates 48.8583701, 2.2944813
0000 0000 0000 0000 and 555-01
"""


def labelled(line: str) -> tuple[str, list[pii.Span]]:
    spans = []
    text = line
    while True:
        starts = [(text.find(f"<{kind}>"), kind) for kind in pii.KINDS if f"<{kind}>" in text]
        if not starts:
            return text, spans
        start, kind = min(starts)
        end = text.index(f"</{kind}>")
        inner = text[start + len(kind) + 2 : end]
        spans.append(pii.Span(kind, start, start + len(inner)))
        text = text[:start] + inner + text[end + len(kind) + 3 :]


@pytest.mark.parametrize("line", LABELLED.strip().split("\n"))
def test_what_people_write_is_found_and_numbers_of_other_things_are_not(line):
    text, spans = labelled(line)
    found = pii.find(text)
    assert [(span.kind, text[span.start : span.end]) for span in found] == [
        (span.kind, text[span.start : span.end]) for span in spans
    ]
    assert found == spans


@pytest.mark.parametrize("number", ["4111111111111111", "378282246310005", "30569309025904", "6011000990139424"])
def test_one_wrong_digit_is_no_card(number):
    assert pii.is_luhn(number)
    for place in range(len(number)):
        for digit in "0123456789":
            other = number[:place] + digit + number[place + 1 :]
            assert pii.is_luhn(other) == (other == number)


@given(st.from_regex(r"[A-Z]{2}[0-9]{2}[A-Z0-9]{11,30}", fullmatch=True))
def test_one_in_97_check_digits_makes_an_account(number):
    """Of the numbers with check digits 02 to 98, exactly one is right."""
    assert sum(pii.is_iban(number[:2] + f"{check:02}" + number[4:]) for check in range(2, 99)) == 1


PIECES = st.sampled_from(
    [
        *(
            "@",
            ".",
            "-",
            " ",
            "\n",
            "+",
            "(",
            ")",
            ":",
            "/",
            "::",
            "a",
            "jane",
            "example.com",
            "4111111111111111",
            "Tel. ",
        ),
        *(
            "415",
            "555",
            "2671",
            "0",
            "30",
            "2001:",
            "8.8",
            ".8.8",
            "DE89",
            "3704 0044",
            "0532 0130 00",
            "\u00a0",
            "\u0664",
            "x",
        ),
        *("jane@example.com", "+49 30 901820", "93.184.216.34", "(415) 555-2671", "\U0001f600", "\ud800"),
    ]
)
TEXTS = st.lists(PIECES, max_size=40).map("".join) | st.text(st.characters(exclude_categories=()))


@settings(deadline=None)
@given(TEXTS)
@example("jane@example.com" * 3)
@example("+49 30 901820+49 30 901820")
def test_spans_are_in_order_apart_and_inside_the_text(text):
    end = 0
    for span in pii.find(text):
        assert span.kind in pii.KINDS
        assert end <= span.start < span.end <= len(text)
        end = span.end


@settings(deadline=None)
@given(TEXTS, st.sets(st.sampled_from(pii.KINDS)))
def test_a_mask_changes_nothing_but_the_spans_of_its_kinds(text, kinds):
    spans = pii.find(text)
    masked = pii.mask(text, spans, kinds)
    outside = len(text) - sum(span.end - span.start for span in spans if span.kind in kinds)
    assert len(masked) == outside + sum(len(pii.placeholder(span.kind)) for span in spans if span.kind in kinds)
    assert masked.startswith(text[: spans[0].start] if spans else text)


@settings(deadline=None)
@given(TEXTS, st.sampled_from(["Write to jane@example.com now", "Call (415) 555-2671 now", "at 93.184.216.34 now"]))
def test_what_is_far_away_does_not_matter(text, sentence):
    """Numbers are looked for in windows; a paragraph more changes no find."""
    far = "\n" + "word " * 40 + "\n"
    alone = [span.kind for span in pii.find(sentence)]
    assert [span.kind for span in pii.find(text + far + sentence)] == [span.kind for span in pii.find(text)] + alone


def test_placeholders_name_their_kind():
    text = "jane@example.com, (415) 555-2671, 8.8.8.8"
    assert pii.mask(text, pii.find(text)) == "<email>, <phone>, <ip_address>"
    assert pii.mask(text, pii.find(text), ["phone"]) == "jane@example.com, <phone>, 8.8.8.8"


def test_an_unknown_kind_is_an_error_that_names_the_known_ones():
    with pytest.raises(ValueError, match="email, ip_address, phone, card, iban, not passport, ssn"):
        pii.mask("", [], ["ssn", "email", "passport"])


def test_a_batch_is_its_texts_one_by_one():
    texts = ["jane@example.com", "", "nothing here", "8.8.8.8"]
    assert pii.batch(texts) == [pii.find(text) for text in texts]


LONG = (
    *(
        "@",
        "1",
        ".",
        "a@",
        "a.",
        "1.",
        "1 ",
        "1-",
        "1.1.1.1 ",
        "+1",
        "+4",
        "(",
        "0",
        "01 ",
        "a@a.",
        "jane@example.com ",
    ),
    *("2001:", "f:", "DE89", "AA00 ", "4111 ", "4111111111111111 ", "tel ", "tel 1 ", "(415) 555-2671 ", "%", "a-"),
    *("\u0661", "a@a", "0123456789\n", "a@-.", "no 1 "),
)


@pytest.mark.parametrize("piece", LONG)
def test_a_long_text_of_one_thing_takes_no_longer_than_its_length(piece):
    """Each takes a fraction of a second; a pattern that tries every split would take days."""
    assert len(pii.find(piece * (200_000 // len(piece)))) <= 200_000


def test_planted_numbers_are_found_in_long_texts():
    rng = random.Random(3)
    words = [rng.choice(["the", "of", "2021", "3.5", "10:30", "page", "12,000", "A4"]) for _ in range(5000)]
    planted = [
        "jane@example.com",
        "+49 30 901820",
        "DE89 3704 0044 0532 0130 00",
        "4111 1111 1111 1111",
        "93.184.216.34",
    ]
    for number, place in zip(planted, range(500, 5000, 1000), strict=False):
        words[place] = f"is {number} and"
    text = " ".join(words)
    assert [text[span.start : span.end] for span in pii.find(text)] == planted
