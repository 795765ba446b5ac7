"""Scores of the Perspective API, which answers for one text at a time over the network.

**The service ends with the year 2026.** Use this to compare with it or to go on with scores that were begun with it;
the default for toxicity is the local model of `etl.kernels.toxicity`, which asks nobody. A score is the probability
that a reader finds the attribute in the text (Lees et al. 2022). The service changes its models without a version, so
equal settings do not promise equal scores at another time; an answer that was given is kept and stays.

Every answer is written to a SQLite file before the next text is asked, under SHA-256 of address, request and text, and
is never asked for again: a run that is killed loses the answer that was on its way. The file holds no text and no key.
The same file spaces requests, so that all processes of a machine that share it keep to `requests_per_second` together.
SQLite's locks do not hold on most network file systems: give each machine a file of its own and its share of the quota.

The key comes from an environment variable and leaves in one header; no message, log, table or file of ours has it.
"""

from __future__ import annotations

import email.utils
import functools
import hashlib
import json
import math
import os
import random
import re
import sqlite3
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import urllib3

from etl.config import STRICT
from etl.kernels.scoring import Score, Span
from etl.models import ModelError

ENDPOINT = "https://commentanalyzer.googleapis.com/v1alpha1/comments:analyze"
KEY_VARIABLE = "PERSPECTIVE_API_KEY"
MAX_BYTES = 20_480  # of a text in UTF-8: the limit of the service
LONG, COMBINE = ("split", "refuse"), ("max", "mean")

MAX_WORKERS = 32
MAX_BACKOFF_SECONDS = 60.0
MAX_WAIT_SECONDS = 600.0  # a service that asks for a longer pause has no quota left for today
BUSY_SECONDS = 60.0  # how long a process waits for others at the file of answers

_VERSION = 1  # of how a text becomes requests, and answers a score
# The service's names for what is wrong with a text, and ours.
_OF_TEXT = {
    "COMMENT_EMPTY": "empty",
    "COMMENT_TOO_LONG": "too_long",
    "LANGUAGE_DETECTION_FAILED": "refused",
    "LANGUAGE_NOT_SUPPORTED_BY_ATTRIBUTE": "refused",
}
_OF_LANGUAGE = "LANGUAGE_NOT_SUPPORTED_BY_ATTRIBUTE"
_PROBE = "The lake is deep, and its water is cold in winter."  # what any service of this kind can answer
_SENTENCE_END = re.compile(r"""[.!?…؟।]["'”’»)\]]*\s+|[。！？]""")  # noqa: RUF001  sentences of other scripts
_SPACE = re.compile(r"\s+")
_LOCAL = re.compile(r"http://(127\.0\.0\.1|localhost|\[::1\])[:/]")


class Clock(NamedTuple):
    """The time, how to let it pass, and a number from 0 to 1 that keeps processes from knocking in step."""

    now: Callable[[], float] = time.time
    sleep: Callable[[float], None] = time.sleep
    jitter: Callable[[], float] = random.random


CLOCK = Clock()


@dataclass(frozen=True)
class Settings:
    """What is asked of the service, and how.

    All of `attributes` are asked for at once, and the answers for all are kept; `attribute` is the one that is the
    score, by default the first, so that two scorers that differ in it alone pay once. Without `languages` the service
    detects the language of each text. A sentence counts as a span from `threshold` on.

    A text longer than `max_bytes` is split at the ends of lines or sentences, of which the first `max_pieces` are
    asked for, or refused, as `long` says: split or refuse; the score of pieces is their max or, weighted by length,
    their mean, as `combine` says. `requests_per_second` is the quota of the key. `cache` is the file of answers, by
    default ``goldenlake/perspective.sqlite`` in the user's folder of caches.
    """

    __pydantic_config__ = STRICT

    attributes: tuple[str, ...] = ("TOXICITY",)
    attribute: str | None = None
    languages: tuple[str, ...] = ()
    threshold: float = 0.8
    span_annotations: bool = True
    do_not_store: bool = True
    long: str = "split"
    combine: str = "max"
    max_bytes: int = MAX_BYTES
    max_pieces: int = 16
    requests_per_second: float = 1.0
    attempts: int = 8
    timeout_seconds: float = 30.0
    key_variable: str = KEY_VARIABLE
    cache: str | None = None
    endpoint: str = ENDPOINT

    def __post_init__(self) -> None:
        problems = []
        if not self.attributes or len(set(self.attributes)) < len(self.attributes):
            problems.append(f"attributes are {list(self.attributes)}, wanted at least one, each once")
        if self.attribute is not None and self.attribute not in self.attributes:
            problems.append(f"attribute is {self.attribute!r}, wanted one of {', '.join(self.attributes)}")
        for name, known in (("long", LONG), ("combine", COMBINE)):
            if getattr(self, name) not in known:
                problems.append(f"{name} is {getattr(self, name)!r}, wanted {' or '.join(known)}")
        for name, least in (("max_bytes", 8), ("max_pieces", 1), ("attempts", 1)):
            if getattr(self, name) < least:
                problems.append(f"{name} is {getattr(self, name)}, wanted at least {least}")
        for name in ("requests_per_second", "timeout_seconds"):
            if not 0 < getattr(self, name) < math.inf:
                problems.append(f"{name} is {getattr(self, name)}, wanted more than 0")
        if not 0 <= self.threshold <= 1:
            problems.append(f"threshold is {self.threshold}, wanted 0 to 1")
        if not self.endpoint.startswith("https://") and not _LOCAL.match(self.endpoint):
            problems.append(f"endpoint is {self.endpoint!r}, wanted https://, since a key is sent there")
        if problems:
            raise ValueError("; ".join(problems))

    @property
    def scored(self) -> str:
        """The attribute that is the score."""
        return self.attribute or self.attributes[0]


def score(texts: Sequence[str], settings: Settings, *, clock: Clock = CLOCK) -> list[Score]:
    """What the service says of each text: the probability of the attribute, 0 to 1, and its spans.

    A text that it cannot judge has an error: ``empty``, ``too_long``, ``refused`` (mostly a language that it does not
    know), or ``failed`` where it answers for other texts and not for this one.

    Raises:
        ModelError: there is no key or it is refused, the settings are, the quota is used up, the service cannot be
            reached, or the file of answers cannot be written. What was answered is kept: run it again to go on.
    """
    pieces_of = [_pieces(text, settings) for text in texts]
    answers = _answers(list(dict.fromkeys(piece.text for pieces in pieces_of for piece in pieces)), settings, clock)
    return [
        _combined(text, [(piece, answers[piece.text]) for piece in pieces], settings)
        for text, pieces in zip(texts, pieces_of, strict=True)
    ]


def digest(settings: Settings) -> str:
    """SHA-256 of what decides the scores on our side: address, request, and how long texts are put and combined."""
    how = [settings.scored, settings.threshold, settings.long, settings.combine]
    limits = [settings.max_bytes, settings.max_pieces]
    return _sha256([settings.endpoint, _request(settings), how, limits, _VERSION]).hex()


def check(settings: Settings) -> None:
    """Have one sentence judged, which is asked once for all: the key, the attributes and the file of answers serve.

    Raises:
        ModelError: as `score`.
    """
    score([_PROBE], settings)


class _Piece(NamedTuple):
    start: int  # in characters of the whole text
    text: str


class _Answer(NamedTuple):
    """What the service says of one piece: per attribute a value and (start, end, value) of spans, or an error."""

    values: Mapping[str, float]
    spans: Mapping[str, Sequence[tuple[int, int, float]]]
    error: str | None = None


class _Unclear(Exception):
    """The service refuses a request, and does not say whether for the text or for the rest of it."""


class _Unanswered(Exception):
    """The service has given no answer to any attempt."""


def _pieces(text: str, settings: Settings) -> list[_Piece]:
    """Parts of a text that the service takes, each with more than white space in it."""
    # A lone surrogate has no UTF-8. It becomes one other character, so that places stay.
    is_long = len(text) > settings.max_bytes or len(text.encode(errors="replace")) > settings.max_bytes
    if is_long and settings.long == "refuse":
        return []
    pieces: list[_Piece] = []
    start = 0
    while start < len(text) and len(pieces) < settings.max_pieces:
        rest = text[start : start + settings.max_bytes].encode(errors="replace")
        part = rest[: settings.max_bytes].decode(errors="ignore")
        if start + len(part) < len(text):
            part = part[: _border(part)]
        if part.strip():
            pieces.append(_Piece(start, part))
        start += len(part)
    return pieces


def _border(part: str) -> int:
    """Where to end a piece: after the last line, else sentence, else word, in its second half."""
    half = len(part) // 2
    line = part.rfind("\n", half) + 1
    if line:
        return line
    for border in (_SENTENCE_END, _SPACE):
        ends = [match.end() for match in border.finditer(part, half)]
        if ends:
            return ends[-1]
    return len(part)


def _combined(text: str, answered: Sequence[tuple[_Piece, _Answer]], settings: Settings) -> Score:
    if not answered:
        if not text.strip():
            return Score(None, 0, error="empty: no text")
        size = len(text.encode(errors="replace"))
        return Score(None, 0, error=f"too_long: {size} bytes of UTF-8, the service takes {settings.max_bytes}")
    judged = [(piece, answer) for piece, answer in answered if answer.error is None]
    if not judged:
        return Score(None, 0, error=answered[0][1].error)
    name = settings.scored
    values = [answer.values[name] for _, answer in judged]
    lengths = [len(piece.text) for piece, _ in judged]
    mean = sum(value * length for value, length in zip(values, lengths, strict=True)) / sum(lengths)
    spans = [
        Span(piece.start + start, piece.start + min(end, len(piece.text)), value)
        for piece, answer in judged
        for start, end, value in answer.spans.get(name, ())
    ]
    return Score(
        # A mean of equal values may leave them by a rounding.
        score=max(values) if settings.combine == "max" else min(max(mean, min(values)), max(values)),
        read=sum(lengths),
        worst=max((span.score for span in spans), default=None),
        spans=tuple(span for span in spans if span.score >= settings.threshold),
    )


def _answers(pieces: Sequence[str], settings: Settings, clock: Clock) -> dict[str, _Answer]:
    """The answer for every piece, asked for where it is not on file."""
    if not pieces:
        return {}
    with _Store.open(settings) as store:
        known = {piece: store.answer(piece) for piece in pieces}
    found = {piece: answer for piece, answer in known.items() if answer is not None}
    missing = [piece for piece in pieces if piece not in found]
    if not missing:
        return found
    client = _Client(settings, _key(settings), clock)
    # At one request a second the next can wait for the last; faster quotas need several on their way.
    workers = min(MAX_WORKERS, math.ceil(settings.requests_per_second), len(missing))
    if workers == 1:
        return found | {piece: client.answer(piece) for piece in missing}
    with ThreadPoolExecutor(workers) as pool:
        return found | dict(zip(missing, pool.map(client.answer, missing), strict=True))


def _key(settings: Settings) -> str:
    key = os.environ.get(settings.key_variable, "").strip()
    if not key:
        raise ModelError(
            f"the Perspective API needs a key in the environment variable {settings.key_variable}, which is not set; "
            f"the default for toxicity is a model that needs none"
        )
    if not key.isascii() or not key.isprintable():
        raise ModelError(f"what {settings.key_variable} holds is no key: it has characters that no key has")
    return key


@dataclass(frozen=True)
class _Client:
    """One user of the service. Its threads share nothing but the pool of connections and the file of answers."""

    settings: Settings
    key: str = field(repr=False)
    clock: Clock

    def answer(self, text: str) -> _Answer:
        """What the service says of `text`, on file when this returns.

        Raises:
            ModelError: it says nothing of any text.
        """
        with _Store.open(self.settings) as store:
            known = store.answer(text)  # another process may have asked meanwhile
            if known is not None:
                return known
            try:
                found = self._ask(store, text, self.settings.attempts)
            except _Unclear as error:
                self._prove(store, str(error))
                found = _Answer({}, {}, f"refused: {error}")
            except _Unanswered as error:
                self._prove(store, str(error))
                return _Answer({}, {}, f"failed: {error}")  # not kept: it may be answered another time
            store.keep(text, found)
            return found

    def _prove(self, store: _Store, problem: str) -> None:
        """See that the service answers for an ordinary sentence, so that the fault is with a text.

        Raises:
            ModelError: it does not.
        """
        try:
            self._ask(store, _PROBE, 1)
        except (_Unclear, _Unanswered) as error:
            raise ModelError(
                f"{self.settings.endpoint}: {problem}; what was answered is kept, run it again to go on"
            ) from error

    def _ask(self, store: _Store, text: str, attempts: int) -> _Answer:
        problem, is_throttled = "", False
        for attempt in range(attempts):
            wait = store.turn(self.clock.now(), 1 / self.settings.requests_per_second) - self.clock.now()
            if wait > 0:
                self.clock.sleep(wait)
            pause = None
            try:
                response = self._send(text)
                status, content, is_throttled = response.status, response.data, response.status == 429
                if status == 200:
                    return _parsed(content, self.settings)
                if status not in (408, 429) and status < 500:
                    return self._refusal(status, content)
                problem = f"status {status}: {self._clean(_message(content))}"
                pause = _retry_after(response.headers.get("Retry-After"), self.clock.now())
            except urllib3.exceptions.HTTPError as error:
                problem, is_throttled = f"no answer: {self._clean(str(error) or type(error).__name__)}", False
            except ValueError as error:
                problem = f"an answer that is none: {self._clean(str(error))}"
            if attempt + 1 < attempts:
                self._pause(store, attempt, pause, problem)
        if is_throttled:
            raise ModelError(
                f"{self.settings.endpoint}: the quota is used up, {problem}; what was answered is kept, run it again "
                f"later to go on, or lower requests_per_second"
            )
        raise _Unanswered(f"{attempts} attempts, the last: {problem}" if attempts > 1 else problem)

    def _send(self, text: str) -> urllib3.BaseHTTPResponse:
        request = {"comment": {"text": _sendable(text)}, "doNotStore": self.settings.do_not_store}
        return _pool().request(
            "POST",
            self.settings.endpoint,
            body=json.dumps(request | _request(self.settings)).encode(),
            # In the address, where it may be put too, a log of addresses would show it.
            headers={"Content-Type": "application/json", "X-Goog-Api-Key": self.key},
            timeout=urllib3.Timeout(self.settings.timeout_seconds),
            retries=False,
            redirect=False,
        )

    def _refusal(self, status: int, content: bytes) -> _Answer:
        """What a request that was refused says of its text.

        Raises:
            ModelError: the key is refused, or the address is no such service.
            _Unclear: it is not the text, or there is no telling.
        """
        message, kinds = self._clean(_message(content)), _kinds(content)
        if "API_KEY_INVALID" in kinds or status in (401, 403) or (status == 400 and "API key" in message):
            raise ModelError(
                f"{self.settings.endpoint} refuses the key in {self.settings.key_variable} (status {status}): {message}"
            )
        if status != 400:
            raise ModelError(
                f"{self.settings.endpoint} is no Perspective API, whose service ends with 2026: status {status}, "
                f"{message}"
            )
        # With languages of our own, the service would say so of every text.
        of_text = sorted(kinds & set(_OF_TEXT) - ({_OF_LANGUAGE} if self.settings.languages else set()))
        if not of_text:
            raise _Unclear(message)
        return _Answer({}, {}, f"{_OF_TEXT[of_text[0]]}: {message}")

    def _pause(self, store: _Store, attempt: int, asked: float | None, problem: str) -> None:
        """Wait before the next attempt: what the service asks for, or longer each time; all processes wait with us."""
        if asked is not None and asked > MAX_WAIT_SECONDS:
            raise ModelError(
                f"{self.settings.endpoint}: wants no request for {asked:.0f} seconds ({problem}); what was answered is "
                f"kept, run it again then"
            )
        backoff = min(MAX_BACKOFF_SECONDS, 2.0**attempt) * (1 + self.clock.jitter()) / 2
        store.hold(self.clock.now() + (backoff if asked is None else asked + self.clock.jitter()))

    def _clean(self, message: str) -> str:
        """A message of others on one line, without the key."""
        return " ".join(message.replace(self.key, "***").split())[:300]


class _Store:
    """The file of answers, and of when the next request may go out. One connection, for one thread."""

    def __init__(self, connection: sqlite3.Connection, settings: Settings) -> None:
        self._connection = connection
        self._settings = settings
        self._request = _request(settings)

    @classmethod
    @contextmanager
    def open(cls, settings: Settings) -> Iterator[_Store]:
        """Raises:
        ModelError: the file cannot be opened or written, or is no file of answers.
        """
        path = _cache(settings)
        connection = None
        try:
            # Without the folder it is SQLite that says so.
            with suppress(OSError):
                path.parent.mkdir(parents=True, exist_ok=True)
            connection = sqlite3.connect(path, timeout=BUSY_SECONDS, isolation_level=None)
            connection.execute("CREATE TABLE IF NOT EXISTS answers (key BLOB PRIMARY KEY, answer TEXT NOT NULL)")
            connection.execute("CREATE TABLE IF NOT EXISTS quota (endpoint TEXT PRIMARY KEY, free_at REAL NOT NULL)")
            yield cls(connection, settings)
        except sqlite3.Error as error:
            raise ModelError(f"{path}: answers of the Perspective API cannot be kept there: {error}") from error
        finally:
            if connection is not None:
                connection.close()

    def answer(self, text: str) -> _Answer | None:
        """What is on file for a text."""
        row = self._connection.execute("SELECT answer FROM answers WHERE key = ?", [self._key(text)]).fetchone()
        return None if row is None else _Answer(**json.loads(row[0]))

    def keep(self, text: str, answer: _Answer) -> None:
        """Write an answer; that of another process for the same text stays."""
        content = json.dumps(answer._asdict(), sort_keys=True)
        self._connection.execute("INSERT OR IGNORE INTO answers VALUES (?, ?)", [self._key(text), content])

    def turn(self, now: float, interval: float) -> float:
        """Take the next time at which a request may go out, `interval` seconds before the one after it."""
        self._connection.execute("BEGIN IMMEDIATE")
        time = self._free_at(now)
        self._set_free_at(time + interval)
        self._connection.execute("COMMIT")
        return time

    def hold(self, until: float) -> None:
        """Let no request go out before `until`."""
        self._connection.execute("BEGIN IMMEDIATE")
        self._set_free_at(self._free_at(until))
        self._connection.execute("COMMIT")

    def _free_at(self, now: float) -> float:
        """When the next request may go out, not before `now`."""
        row = self._connection.execute(
            "SELECT free_at FROM quota WHERE endpoint = ?", [self._settings.endpoint]
        ).fetchone()
        # Later than anyone waits is from before the clock was set back.
        return max(now, row[0]) if row is not None and row[0] < now + 2 * MAX_WAIT_SECONDS else now

    def _set_free_at(self, time: float) -> None:
        self._connection.execute("INSERT OR REPLACE INTO quota VALUES (?, ?)", [self._settings.endpoint, time])

    def _key(self, text: str) -> bytes:
        return _sha256([self._settings.endpoint, self._request, _sendable(text)])


def _cache(settings: Settings) -> Path:
    if settings.cache is not None:
        return Path(settings.cache).expanduser()
    folder = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(folder) / "goldenlake" / "perspective.sqlite"


def _sendable(text: str) -> str:
    return text.encode(errors="replace").decode()


def _request(settings: Settings) -> dict[str, Any]:
    """What a request says beside the text, as far as it decides the answer."""
    request: dict[str, Any] = {"requestedAttributes": {name: {} for name in sorted(settings.attributes)}}
    if settings.languages:
        request["languages"] = list(settings.languages)
    if settings.span_annotations:
        request["spanAnnotations"] = True
    return request


def _parsed(content: bytes, settings: Settings) -> _Answer:
    """The scores of an answer.

    Raises:
        ValueError: it is not JSON, or lacks a score that was asked for.
    """
    try:
        given = json.loads(content)["attributeScores"]
        values = {name: float(given[name]["summaryScore"]["value"]) for name in settings.attributes}
        spans = {
            name: [
                # Fields that are 0 are left out of the JSON of Google's services.
                (int(span.get("begin", 0)), int(span.get("end", 0)), float(span["score"].get("value", 0.0)))
                for span in given[name].get("spanScores", ())
            ]
            for name in settings.attributes
        }
    except (KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"{type(error).__name__} {error} in {content[:100]!r}") from error
    if not all(0 <= value <= 1 for value in values.values()):
        raise ValueError(f"scores {values}, wanted 0 to 1")
    return _Answer(values, spans)


def _error(content: bytes) -> Mapping[str, Any]:
    try:
        error = json.loads(content)["error"]
        return error if isinstance(error, dict) else {}
    except (ValueError, KeyError, TypeError):
        return {}


def _message(content: bytes) -> str:
    return str(_error(content).get("message") or content[:200].decode(errors="replace") or "no message")


def _kinds(content: bytes) -> set[str]:
    """The machine-readable names of what is wrong."""
    details = _error(content).get("details")
    found = [detail for detail in details if isinstance(detail, dict)] if isinstance(details, list) else []
    return {str(detail[name]) for detail in found for name in ("errorType", "reason") if name in detail}


def _retry_after(header: str | None, now: float) -> float | None:
    """Seconds that a Retry-After header asks for, as a number or as a date (RFC 9110, 10.2.3)."""
    if header is None:
        return None
    if header.strip().isdecimal():
        return float(header)
    try:
        return max(0.0, email.utils.parsedate_to_datetime(header).timestamp() - now)
    except ValueError:
        return None


def _sha256(value: Any) -> bytes:
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).digest()


@functools.lru_cache(maxsize=1)
def _pool() -> urllib3.PoolManager:
    return urllib3.PoolManager(maxsize=MAX_WORKERS, headers={"User-Agent": "goldenlake"})
