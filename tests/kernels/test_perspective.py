"""The adapter against a server that answers as the Perspective API does: nothing is paid twice, and the key stays."""

from __future__ import annotations

import email.utils
import json
import logging
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from etl import config
from etl.errors import ConfigError
from etl.kernels import perspective
from etl.kernels.perspective import Clock, Settings
from etl.kernels.scoring import Score
from etl.models import ModelError

KEY = "AIzaSy-a-key-for-tests"


def rudeness(text: str) -> float:
    """What the server finds in a text: the share of its words that are ``bad``."""
    words = text.split()
    return sum(word.startswith("bad") for word in words) / max(1, len(words))


class Service:
    """What the server was asked, and what it does before it answers as it should: one item of `faults` a request."""

    def __init__(self) -> None:
        self.asked: list[dict[str, Any]] = []
        self.addresses: list[str] = []
        self.faults: list[Any] = []
        self.bad_texts: dict[str, tuple[int, Any]] = {}
        self.released = threading.Event()
        self.meeting = threading.Barrier(3)

    @property
    def texts(self) -> list[str]:
        return [request["comment"]["text"] for request in self.asked]

    def answer(self, request: dict[str, Any], key: str | None) -> tuple[int, Any]:
        text, languages = request["comment"]["text"], request.get("languages") or ["en"]
        attributes = request["requestedAttributes"]
        if key != KEY:
            detail = {"@type": "type.googleapis.com/google.rpc.ErrorInfo", "reason": "API_KEY_INVALID"}
            return error(400, "API key not valid. Please pass a valid API key.", detail)
        if text in self.bad_texts:
            return self.bad_texts[text]
        if "NO_SUCH_THING" in attributes:
            return error(400, "Attribute NO_SUCH_THING is not known", {"errorType": "INVALID_REQUEST"})
        if len(text.encode()) > perspective.MAX_BYTES:
            return error(400, "Comment text too long.", {"errorType": "COMMENT_TOO_LONG"})
        if text.startswith("湖") or languages == ["tlh"]:
            told = {"detectedLanguages": ["ja"], "attribute": min(attributes)}
            detail = {"errorType": perspective._OF_LANGUAGE, "languageNotSupportedByAttributeError": told}
            return error(400, f"Attribute {min(attributes)} does not support request languages: ja", detail)
        scores = {name: self.scores(text, name, "spanAnnotations" in request) for name in attributes}
        return 200, {"attributeScores": scores, "languages": languages, "detectedLanguages": ["en"]}

    def scores(self, text: str, name: str, with_spans: bool) -> dict[str, Any]:
        scale = 1.0 if name == "TOXICITY" else 0.5
        found: dict[str, Any] = {"summaryScore": {"value": scale * rudeness(text), "type": "PROBABILITY"}}
        if with_spans:
            ends = [place + 1 for place, character in enumerate(text) if character == "."] or [len(text)]
            pairs = zip([0, *ends], ends, strict=False)
            found["spanScores"] = [
                # Zeros are left out, as the service does.
                ({"begin": begin} if begin else {})
                | {"end": end, "score": {"value": scale * rudeness(text[begin:end]), "type": "PROBABILITY"}}
                for begin, end in pairs
            ]
        return found


def error(code: int, message: str, *details: dict[str, Any]) -> tuple[int, Any]:
    return code, {"error": {"code": code, "message": message, "status": "INVALID_ARGUMENT", "details": list(details)}}


class _Handler(BaseHTTPRequestHandler):
    service: Service
    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        request = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.service.asked.append(request)
        self.service.addresses.append(self.path)
        fault = self.service.faults.pop(0) if self.service.faults else None
        headers: dict[str, str] = {}
        if fault == "hang":
            self.service.released.wait(20)
            self.close_connection = True
            return
        if fault == "meet":
            self.service.meeting.wait(20)
            fault = None
        if isinstance(fault, bytes):
            status, content = 200, fault
        else:
            if fault is None:
                status, answer = self.service.answer(request, self.headers.get("X-Goog-Api-Key"))
            elif isinstance(fault, tuple):
                status, answer, headers = fault
            else:
                status, answer = error(fault, "try again")
            content = json.dumps(answer).encode()
        self.send_response(status)
        for name, value in {**headers, "Content-Length": str(len(content))}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *_: object) -> None:
        pass


class Time:
    """A clock whose time passes only where somebody sleeps."""

    def __init__(self) -> None:
        self.now = 1_000_000.0
        self.slept: list[float] = []

    def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.now += seconds

    @property
    def clock(self) -> Clock:
        return Clock(lambda: self.now, self.sleep, lambda: 1.0)


@pytest.fixture
def service(monkeypatch: pytest.MonkeyPatch) -> Iterator[Service]:
    monkeypatch.setenv(perspective.KEY_VARIABLE, KEY)
    service = Service()
    handler = type("Handler", (_Handler,), {"service": service})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    service.address = f"http://127.0.0.1:{server.server_port}/v1alpha1/comments:analyze"  # type: ignore[attr-defined]
    yield service
    service.released.set()
    server.shutdown()
    thread.join()
    perspective._pool().clear()
    server.server_close()


@pytest.fixture
def settings(service: Service, tmp_path: Path) -> Settings:
    return Settings(endpoint=service.address, cache=str(tmp_path / "cache" / "answers.sqlite"))  # type: ignore[attr-defined]


def ask(texts: list[str], settings: Settings, time: Time | None = None) -> list[Score]:
    return perspective.score(texts, settings, clock=(time or Time()).clock)


def test_a_score_is_the_probability_of_the_attribute_with_its_spans(service: Service, settings: Settings) -> None:
    text = "the lake is deep. bad bad bad. bad lake."
    (found,) = ask([text], replace(settings, threshold=0.75))
    assert found.score == pytest.approx(4 / 9)
    assert (found.read, found.worst, found.error) == (len(text), 1.0, None)
    assert [(text[start:end], score) for start, end, score in found.spans] == [(" bad bad bad.", 1.0)]
    assert service.asked == [
        {
            "comment": {"text": text},
            "requestedAttributes": {"TOXICITY": {}},
            "spanAnnotations": True,
            "doNotStore": True,
        }
    ]


def test_attributes_and_languages_are_asked_for_at_once_and_one_is_the_score(
    service: Service, settings: Settings
) -> None:
    both = replace(
        settings, attributes=("TOXICITY", "INSULT"), languages=("de", "en"), span_annotations=False, do_not_store=False
    )
    assert ask(["bad lake"], both)[0] == Score(0.5, 8)
    assert ask(["bad lake"], replace(both, attribute="INSULT"))[0] == Score(0.25, 8)
    assert len(service.asked) == 1
    assert service.asked[0]["languages"] == ["de", "en"]
    assert service.asked[0]["requestedAttributes"] == {"TOXICITY": {}, "INSULT": {}}
    assert service.asked[0]["doNotStore"] is False
    assert "spanAnnotations" not in service.asked[0]


def test_nothing_is_asked_twice(service: Service, settings: Settings) -> None:
    texts = ["the lake", "bad", "the lake", "湖は深い", ""]
    first = ask(texts, settings)
    assert ask(texts[::-1], settings)[::-1] == first
    assert sorted(service.texts) == ["bad", "the lake", "湖は深い"]
    ask(["bad"], replace(settings, languages=("en",)))
    assert len(service.asked) == 4  # another request is another answer


def test_answers_on_file_need_no_key(service: Service, settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    perspective.check(settings)
    monkeypatch.delenv(perspective.KEY_VARIABLE)
    perspective.check(settings)
    with pytest.raises(ModelError, match="a key in the environment variable PERSPECTIVE_API_KEY, which is not set"):
        ask(["bad"], settings)
    assert len(service.asked) == 1


@pytest.mark.parametrize(
    ("key", "fault"), [("wrong", None), (KEY, (403, {"error": {"code": 403, "message": "blocked " + KEY}}, {}))]
)
def test_a_refused_key_stops_the_run_and_is_not_shown(
    service: Service, settings: Settings, monkeypatch: pytest.MonkeyPatch, key: str, fault: Any
) -> None:
    monkeypatch.setenv("MY_KEY", key)
    service.faults = [fault]
    with pytest.raises(ModelError, match="refuses the key in MY_KEY") as raised:
        ask(["bad", "good"], replace(settings, key_variable="MY_KEY"))
    assert key not in str(raised.value)
    assert len(service.asked) == 1


def test_the_key_is_in_no_log_no_file_and_no_address(
    service: Service, settings: Settings, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    service.faults = [(500, {"error": {"message": f"no such key {KEY}"}}, {}), "hang"]
    with pytest.raises(ModelError) as raised:
        ask(["bad"], replace(settings, attempts=1, timeout_seconds=0.1))
    assert "no such key ***" in str(raised.value)
    ask(["good"], settings)
    assert caplog.records
    assert KEY not in caplog.text + "".join(service.addresses) + repr(perspective._Client(settings, KEY, Clock()))
    assert KEY.encode() not in Path(settings.cache or "").read_bytes()


@pytest.mark.parametrize("key", ["", " \n", "two\nlines", "schlüssel"])
def test_what_is_no_key_is_not_sent(
    service: Service, settings: Settings, monkeypatch: pytest.MonkeyPatch, key: str
) -> None:
    monkeypatch.setenv(perspective.KEY_VARIABLE, key)
    with pytest.raises(ModelError, match=perspective.KEY_VARIABLE) as raised:
        ask(["bad"], settings)
    assert not key.strip() or key not in str(raised.value)
    assert not service.asked


def test_a_text_in_a_language_that_the_service_lacks_is_refused_and_others_are_not(settings: Settings) -> None:
    refused, scored = ask(["湖は深い", "bad"], settings)
    said = "refused: Attribute TOXICITY does not support request languages: ja"
    assert refused == Score(None, 0, error=said)
    assert scored.score == 1.0


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"languages": ("tlh",)}, "does not support request languages"),
        ({"attributes": ("NO_SUCH_THING",)}, "Attribute NO_SUCH_THING is not known"),
    ],
)
def test_settings_that_the_service_refuses_stop_the_run(settings: Settings, change: Any, said: str) -> None:
    for call in (lambda wrong: ask(["bad"], wrong), perspective.check):
        with pytest.raises(ModelError, match=said):
            call(replace(settings, requests_per_second=1e6, **change))


def test_a_text_that_the_service_alone_refuses_is_a_row(service: Service, settings: Settings) -> None:
    service.bad_texts = {
        "odd": error(400, "Invalid value", {"errorType": "INVALID_REQUEST"}),
        "blank": error(400, "Comment must be non-empty.", {"errorType": "COMMENT_EMPTY"}),
        "long": error(400, "Comment text too long.", {"errorType": "COMMENT_TOO_LONG"}),
    }
    found = ask(["odd", "blank", "long", "bad"], settings)
    assert [each.error for each in found] == [
        "refused: Invalid value",
        "empty: Comment must be non-empty.",
        "too_long: Comment text too long.",
        None,
    ]


def test_a_text_that_makes_the_service_fail_is_a_row_that_is_asked_for_again(
    service: Service, settings: Settings
) -> None:
    service.bad_texts = {"poison": error(500, "internal")}
    found = ask(["poison", "bad"], replace(settings, attempts=2))
    assert found[0] == Score(None, 0, error="failed: 2 attempts, the last: status 500: internal")
    assert found[1].score == 1.0
    service.bad_texts = {}
    assert ask(["poison"], settings)[0].score == 0.0


@pytest.mark.parametrize(
    "fault",
    [500, 503, 429, 408, b"<html>", b"[]", b'{"attributeScores": {}}', b'{"attributeScores": null}', "hang"],
    ids=str,
)
def test_what_passes_is_asked_again(service: Service, settings: Settings, fault: Any) -> None:
    service.faults = [fault, fault]
    (found,) = ask(["bad"], replace(settings, timeout_seconds=0.1 if fault == "hang" else 10))
    assert found.score == 1.0
    assert service.texts == ["bad"] * 3


def test_pauses_between_attempts_double(service: Service, settings: Settings) -> None:
    time = Time()
    service.faults = [500] * 4
    ask(["bad"], replace(settings, requests_per_second=1000), time)
    assert time.slept == pytest.approx([1, 2, 4, 8])


@pytest.mark.parametrize("as_date", [False, True])
def test_retry_after_is_kept_to(service: Service, settings: Settings, as_date: bool) -> None:
    time = Time()
    asked = email.utils.formatdate(time.now + 90, usegmt=True) if as_date else "90"
    service.faults = [(429, {}, {"Retry-After": asked})]
    ask(["bad"], settings, time)
    assert sum(time.slept) == pytest.approx(91)  # and up to a second, so that not all come at once


def test_a_quota_that_is_used_up_stops_the_run_and_what_was_answered_is_kept(
    service: Service, settings: Settings
) -> None:
    service.faults = [None, *[429] * 3]
    with pytest.raises(ModelError, match="the quota is used up, status 429: try again"):
        ask(["one", "two"], replace(settings, attempts=3))
    service.faults = [(429, {}, {"Retry-After": "86400"})]
    with pytest.raises(ModelError, match="wants no request for 86400 seconds"):
        ask(["one", "two"], settings)
    ask(["one", "two"], settings)
    assert service.texts.count("one") == 1


def test_a_service_that_is_gone_stops_the_run(service: Service, settings: Settings) -> None:
    service.faults = [(404, {"error": {"message": "gone"}}, {})]
    with pytest.raises(ModelError, match="whose service ends with 2026: status 404, gone"):
        ask(["bad"], settings)
    with pytest.raises(ModelError, match=r"no answer: .*run it again to go on"):
        ask(["bad"], replace(settings, endpoint="http://127.0.0.1:9/", attempts=2))


def test_redirects_are_not_followed_with_the_key(service: Service, settings: Settings) -> None:
    service.faults = [(307, {}, {"Location": settings.endpoint})]
    with pytest.raises(ModelError, match="status 307"):
        ask(["bad"], settings)
    assert len(service.asked) == 1


def test_requests_keep_to_the_quota(service: Service, settings: Settings) -> None:
    time = Time()
    start = time.now
    ask([f"lake {number}" for number in range(5)], replace(settings, requests_per_second=0.5), time)
    ask(["another", "lake 0"], replace(settings, requests_per_second=0.5), time)
    assert time.now - start == pytest.approx(10)


def test_a_quota_holds_for_all_who_share_the_file(settings: Settings) -> None:
    def turns(_: int) -> list[float]:
        with perspective._Store.open(settings) as store:
            return [store.turn(100.0, 0.25) for _ in range(10)]

    with ThreadPoolExecutor(4) as pool:
        taken = sorted(turn for found in pool.map(turns, range(4)) for turn in found)
    assert taken == pytest.approx([100 + 0.25 * number for number in range(40)])
    with perspective._Store.open(settings) as store:
        assert store.turn(-5000.0, 0.25) == -5000.0  # a clock that was set back waits for nobody


def test_a_large_quota_has_several_requests_on_their_way(service: Service, settings: Settings) -> None:
    service.faults = ["meet"] * 3  # each is answered when all three are there
    fast = replace(settings, requests_per_second=500, attempts=1)
    assert [each.score for each in perspective.score([f"bad {number}" for number in range(6)], fast)] == [0.5] * 6


def kept(settings: Settings) -> int:
    """Answers on file."""
    connection = sqlite3.connect(settings.cache or "", timeout=10)
    try:
        (count,) = connection.execute("SELECT count(*) FROM answers").fetchone()
        return int(count)
    finally:
        connection.close()


def test_a_run_that_is_killed_keeps_what_was_answered(service: Service, settings: Settings) -> None:
    service.faults = [None, None, "hang"]
    program = (
        "from etl.kernels.perspective import Settings, score\n"
        f"score(['a', 'b', 'c', 'd'], Settings(endpoint={settings.endpoint!r}, cache={settings.cache!r}, "
        "requests_per_second=50.0, timeout_seconds=60, attempts=1))\n"
    )
    process = subprocess.Popen([sys.executable, "-c", program])
    try:
        deadline = time.monotonic() + 60
        while (len(service.asked) < 4 or kept(settings) < 2) and time.monotonic() < deadline:
            time.sleep(0.01)
        process.kill()
    finally:
        process.wait()
    answers = kept(settings)
    assert answers >= 2
    before = len(service.asked)
    assert all(each.score == 0 for each in ask(["a", "b", "c", "d"], settings))
    assert len(service.asked) - before == 4 - answers


def test_long_texts_are_split_at_borders_and_their_spans_keep_their_places(
    service: Service, settings: Settings
) -> None:
    lines = [f"the lake is {number} feet deep.\n" for number in range(20)]
    text = "".join([*lines[:10], "bad bad bad.\n", *lines[10:]])
    split = replace(settings, max_bytes=100)
    (most,) = ask([text], split)
    (mean,) = ask([text], replace(split, combine="mean"))
    assert "".join(service.texts) == text
    assert all(part.endswith("\n") and len(part) <= 100 for part in service.texts)
    assert [text[start:end].strip() for start, end, _ in most.spans] == ["bad bad bad."]
    values = [rudeness(part) for part in service.texts]
    assert most.score == max(values)
    weighted = sum(value * len(part) for value, part in zip(values, service.texts, strict=True)) / len(text)
    assert mean.score == pytest.approx(weighted)
    assert most.read == mean.read == len(text)


def test_of_a_huge_text_only_the_first_pieces_are_paid_for(service: Service, settings: Settings) -> None:
    start = "".join(map(str, range(20_000)))
    (found,) = ask([start + "." * 200_000_000], replace(settings, max_pieces=3, requests_per_second=100))
    assert found.read == 3 * perspective.MAX_BYTES
    assert len(service.asked) == 3


def test_long_texts_are_refused_where_the_settings_say_so(service: Service, settings: Settings) -> None:
    refusing = replace(settings, long="refuse")
    exact, longer = "é" * (perspective.MAX_BYTES // 2), "é" * (perspective.MAX_BYTES // 2) + "x"
    found = ask([exact, longer], refusing)
    assert found[0].error is None
    assert found[1] == Score(None, 0, error="too_long: 20481 bytes of UTF-8, the service takes 20480")
    assert service.texts == [exact]


def test_a_document_is_judged_by_the_pieces_that_the_service_can_judge(settings: Settings) -> None:
    (found,) = ask(["湖は深い。" * 6 + "\n" + "bad lake. " * 5], replace(settings, max_bytes=95))
    assert found.score == pytest.approx(0.5)
    assert found.read == 50


@pytest.mark.parametrize("text", ["", " \n\t", "\u3000" * 30_000])
def test_nothing_is_asked_of_a_text_without_text(service: Service, settings: Settings, text: str) -> None:
    for each in (settings, replace(settings, long="refuse")):
        assert ask([text], each) == [Score(None, 0, error="empty: no text")]
    assert not service.asked


def test_odd_characters_arrive_as_json(service: Service, settings: Settings) -> None:
    found = ask(["a\0b", "\ud800 bad", "🌊 bad"], settings)
    assert service.texts == ["a\0b", "? bad", "🌊 bad"]
    assert [each.score for each in found] == [0, 0.5, 0.5]


@given(st.text(st.sampled_from("a. \n。🌊é\ud800"), max_size=200), st.integers(8, 40))
def test_pieces_are_the_text_and_fit(text: str, max_bytes: int) -> None:
    pieces = perspective._pieces(text, Settings(max_bytes=max_bytes, max_pieces=1000))
    assert all(len(piece.text.encode()) <= max_bytes for piece in pieces)
    left = list(text.replace("\ud800", "?"))
    for piece in pieces:
        assert "".join(left[piece.start : piece.start + len(piece.text)]) == piece.text
        left[piece.start : piece.start + len(piece.text)] = " " * len(piece.text)
    assert not "".join(left).strip()


def test_a_file_that_is_none_of_answers_is_an_error(settings: Settings, tmp_path: Path) -> None:
    (tmp_path / "text").write_text("no database " * 100)
    for cache in (tmp_path / "text", tmp_path / "text" / "below", tmp_path):
        with pytest.raises(ModelError, match=f"{cache}: answers of the Perspective API cannot be kept there"):
            ask(["bad"], replace(settings, cache=str(cache)))


def test_the_name_changes_with_what_decides_a_score_and_with_nothing_else(settings: Settings) -> None:
    same = [
        {"requests_per_second": 5.0},
        {"cache": "x"},
        {"attempts": 2},
        {"key_variable": "K"},
        {"do_not_store": False},
    ]
    other = [
        {"attributes": ("INSULT",)},
        {"attributes": ("TOXICITY", "INSULT")},
        {"attributes": ("TOXICITY", "INSULT"), "attribute": "INSULT"},
        {"languages": ("en",)},
        {"threshold": 0.5},
        {"span_annotations": False},
        {"combine": "mean"},
        {"long": "refuse"},
        {"max_bytes": 1000},
        {"endpoint": perspective.ENDPOINT},
    ]
    own = perspective.digest(settings)
    changes: list[dict[str, Any]] = same
    assert {perspective.digest(replace(settings, **change)) for change in changes} == {own}
    changes = other
    found = [perspective.digest(replace(settings, **change)) for change in changes]
    assert len({own, *found}) == len(other) + 1


@pytest.mark.parametrize(
    ("data", "said"),
    [
        ({"attributes": []}, "attributes are [], wanted at least one"),
        ({"attribute": "INSULT"}, "attribute is 'INSULT', wanted one of TOXICITY"),
        ({"long": "cut", "combine": "min"}, "long is 'cut', wanted split or refuse; combine is 'min'"),
        ({"requests_per_second": 0}, "requests_per_second is 0.0, wanted more than 0"),
        ({"endpoint": "http://example.org/"}, "wanted https://, since a key is sent there"),
        ({"key": "AIza"}, "unknown key 'key'"),
    ],
)
def test_wrong_settings_are_named(data: dict[str, Any], said: str) -> None:
    with pytest.raises(ConfigError) as raised:
        config.build(data, Settings, origin="scorer.yaml")
    assert said in str(raised.value)
