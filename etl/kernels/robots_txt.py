"""What a robots.txt allows, by RFC 9309: the ``robotstxt`` captures of Common Crawl say what was asked of crawlers.

A matcher of our own because the two in common use do not do: `urllib.robotparser` takes the first rule that fits and
knows no wildcards, and to turn wildcards into regular expressions, as others do, lets one line of a file hang its
reader. Here a pattern is looked for part by part, in time linear in the path for each part.

Where the RFC is silent it is read as Google reads it: lines of other kinds do not end the list of crawlers of a group.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import NamedTuple
from urllib.parse import quote

from etl.kernels.rights import usages

MAX_CHARACTERS = 500 * 1024  # RFC 9309, 2.5: a crawler reads at least that much

MAX_AGENTS = 300  # of one group; the lists of all known AI crawlers have about a hundred

_LINE = re.compile(r"[ \t]*([A-Za-z-]+)[ \t]*:[ \t]*([^#]*)")
_PRODUCT = re.compile(r"[A-Za-z_-]+")
_ESCAPE = re.compile(r"%([0-9A-Fa-f]{2})")
_UNRESERVED = frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~")
# Statements about the use of content beside those about fetching it: IETF AIPREF, and the one that preceded it.
_USAGE = ("content-usage", "content-signal")

AI_CRAWLERS = (
    "anthropic-ai", "applebot-extended", "bytespider", "ccbot", "claudebot", "cohere-training-data-crawler",
    "facebookbot", "google-extended", "gptbot", "meta-externalagent", "omgili", "omgilibot", "webzio-extended",
)  # fmt: skip
"""Names by which crawlers that gather text for models ask, by what their operators say of them; in lower case."""


class PathRule(NamedTuple):
    """Whether paths that fit may be fetched. `parts` is the pattern at its stars, `ends` whether it ends in ``$``."""

    allow: bool
    length: int
    parts: tuple[str, ...]
    ends: bool

    def fits(self, path: str) -> bool:
        first, *others = self.parts
        if not path.startswith(first):
            return False
        if not others:
            return not self.ends or len(path) == len(first)
        *middle, last = others
        at = len(first)
        for part in middle:
            at = path.find(part, at)
            if at < 0:
                return False
            at += len(part)
        return len(path) - len(last) >= at and path.endswith(last) if self.ends else path.find(last, at) >= 0


@dataclass(frozen=True)
class Robots:
    """The rules of a file: `groups` by crawler in lower case, ``*`` for those that no group names.

    `usage` are the values of Content-Usage and Content-Signal, for all crawlers, in lower case; `sitemaps` as told.
    """

    groups: Mapping[str, tuple[PathRule, ...]]
    usage: tuple[str, ...]
    sitemaps: tuple[str, ...]

    def allowed(self, agent: str, path: str) -> bool:
        """Whether `agent` (``CCBot/2.0`` or its name alone) may fetch `path`, which has its query.

        Of the rules that fit the longest counts, of two as long the one that allows.
        """
        return _may(self.groups.get(_product(agent), self.groups.get("*", ())), _normal(path) or "/")

    def shut_out(self, path: str = "/", others: Iterable[str] = ()) -> tuple[str, ...]:
        """Crawlers that may not fetch `path`, of those that are named here and `others`, sorted; ``*`` where that is so
        for all that no group names."""
        path = _normal(path) or "/"
        # Crawlers that are named together, as most are, have one verdict.
        verdicts = {rules: _may(rules, path) for rules in {(), *self.groups.values()}}
        by_default = verdicts[self.groups.get("*", ())]
        may = {"*": by_default, **dict.fromkeys(others, by_default)}
        may |= {name: verdicts[rules] for name, rules in self.groups.items()}
        return tuple(sorted(name for name, verdict in may.items() if not verdict))

    @property
    def preferences(self) -> tuple[str, ...]:
        """What `usage` says of all pages or of some, ``key=value`` without spaces, sorted."""
        return tuple(sorted({each for line in self.usage for each in usages(re.sub(r"^/\S*\s+", "", line))}))


def _may(rules: Iterable[PathRule], path: str) -> bool:
    if path == "/robots.txt":
        return True
    fitting = [(rule.length, rule.allow) for rule in rules if rule.fits(path)]
    return max(fitting)[1] if fitting else True


def rules(text: str) -> Robots:
    """The rules of the robots.txt `text`. Never raises: lines that are none of a robots.txt are passed over."""
    groups: dict[str, list[PathRule]] = {}
    agents: list[str] = []
    ended = True  # whether the next crawler that is named begins a group
    usage: list[str] = []
    sitemaps: list[str] = []
    for line in re.split(r"[\r\n]+", text[:MAX_CHARACTERS].removeprefix("\ufeff")):
        match = _LINE.match(line)
        if match is None:
            continue
        key, value = match[1].lower(), match[2].strip()
        if key == "user-agent":
            agent = _product(value)
            if ended:
                agents.clear()
            ended = False
            if len(agents) < MAX_AGENTS and agent not in agents:
                agents.append(agent)
                groups.setdefault(agent, [])
        elif key in ("allow", "disallow"):
            ended = True
            if value:
                rule = _rule(key == "allow", value)
                for agent in agents:
                    groups[agent].append(rule)
        elif key in _USAGE:
            usage.append(value.lower())
        elif key == "sitemap":
            sitemaps.append(value)
    return Robots({name: tuple(found) for name, found in groups.items()}, tuple(usage), tuple(sitemaps))


def _product(agent: str) -> str:
    match = _PRODUCT.match(agent)
    return match[0].lower() if match else "*"


def _rule(allow: bool, pattern: str) -> PathRule:
    ends = pattern.endswith("$")
    normal = _normal(pattern.removesuffix("$"))
    if not normal.startswith(("/", "*")):
        normal = f"/{normal}"
    return PathRule(allow, len(normal) + ends, tuple(re.sub(r"\*+", "*", normal).split("*")), ends)


def _normal(path: str) -> str:
    """A path with every character that may stand for itself as itself, and every other as percents in capitals."""
    return _ESCAPE.sub(_unescaped, quote(path.encode("utf-8", "replace"), safe="%/?#[]@!$&'()*+,;=:-._~|{}^\"<>\\`"))


def _unescaped(match: re.Match[str]) -> str:
    character = chr(int(match[1], 16))
    return character if character in _UNRESERVED else match[0].upper()
