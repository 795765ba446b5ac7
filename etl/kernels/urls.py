"""What the address of a page says about it: on which lists it is, which words it has, what kind of place it names.

Nothing is decided here: every rule of a recipe reads one of these columns. The rules are those of RefinedWeb (Penedo
et al. 2023, appendix G.1): a domain or URL on a block list, one hard word, two soft words, a sub-word in the name of
the host; beside them the shapes of addresses that are no documents.

A list is a file or a folder:

    a folder      one category, named as the folder, as UT1 publishes them: any of the files ``domains``, ``urls``,
                  ``hard_words``, ``soft_words`` and ``sub_words``; other files in it are not read
    a folder of folders   each of them that has such a file is a category, in the order of their names
    a file        one list of domains, named as the file without its endings; where it is called ``domains``, ``urls``
                  and so on, it is of that kind and named as its folder

Files may be gzip (``.gz``) and may end in ``.txt``. ``#`` begins a comment. A line of ``domains`` is a host name or
an address, alone or as in a hosts file after the address that it is sent to; of ``urls`` a host with a path, as UT1
has them; of the three others a word. Any other line is an error: a list that is read in part keeps pages that it was
meant to drop. A domain covers the hosts below it, ``example.com`` also ``www.example.com`` but never
``notexample.com``. A URL covers what is below its path. International names are the same in Unicode and in punycode.
Lists of domains and URLs are kept as 64-bit hashes, 10 bytes an entry: among 10 million entries and a billion pages,
the chance that one page is named by mistake is about one in six hundred.
"""

from __future__ import annotations

import contextlib
import gzip
import hashlib
import io
import re
import unicodedata
import zlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from urllib.parse import unquote

import idna
import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import tldextract

from etl import resources
from etl.errors import ConfigError

KINDS = ("domains", "urls", "hard_words", "soft_words", "sub_words")
NONE = "none"
"""What a column of names holds where none applies, so that a rule can ask for it: ``one_of: [none]``."""

MAX_PROBLEMS = 20
MAX_HOST_CHARACTERS = 253  # RFC 1035, 2.3.4
MAX_PATH_PARTS = 64  # of a path, how many beginnings are looked up

SCHEMA = pa.schema(
    [
        pa.field("url_list", pa.string()),
        pa.field("url_list_entry", pa.string()),
        pa.field("url_hard_words", pa.int64()),
        pa.field("url_soft_words", pa.int64()),
        pa.field("url_sub_words", pa.int64()),
        pa.field("url_words_found", pa.string()),
        pa.field("url_host_is_ip", pa.int64()),
        pa.field("url_path_kind", pa.string()),
        pa.field("url_length", pa.int64()),
    ]
)

# As browsers read them (WHATWG URL): user and port are no part of the host.
_URL = (
    r"^[\x00-\x20]*[a-z][a-z0-9+.-]*:[/\\]{2,}(?:[^/?#\\]*@)?(?P<host>\[[^\]/?#]*\]|[^/?#:\\]*)(?::[0-9]*)?"
    r"(?P<path>[^?#]*)(?P<query>(?:\?[^#]*)?)"
)
# Letters by blocks of Unicode: the classes of letters would take RE2 longer to compile than a batch to read.
_NOT_A_WORD = r"[^a-z0-9\x{c0}-\x{1fff}\x{2c00}-\x{2fff}\x{3040}-\x{fdff}\x{fe70}-\x{fefc}\x{ff10}-\x{10ffff}]+"
# A host whose last label is a number is an IPv4 address, however that is written (WHATWG URL, 3.5).
_IP = r"^\[|(?:^|\.)(?:[0-9]+|0x[0-9a-f]*)$"

# Where the last part of a path has an ending, it is that of a program.
_END = r"(?:\.(?:php[0-9]?|aspx?|jspx?|html?|cgi|do|action|cfm))?/*(?:\?|$)"
_ACCOUNT = (
    r"(?:log[-_]?(?:in|on|out|off)|sign[-_]?(?:in|up|out)|wp-login|(?:forgot|lost|reset)[-_]?password|einloggen|"
    r"anmelden|anmeldung|connexion|inscription|se-connecter|iniciar-sesion|accedi|inloggen|logowanie|entrar)"
)
_CART = (
    r"(?:cart|checkout|basket|shopping[-_]?(?:cart|basket|bag)|view[-_]?cart|warenkorb|kasse|panier|carrito|carrello|"
    r"carrinho|winkelwagen|winkelmandje|koszyk|korzina|sepet|sepetim|varukorg)"
)
_SEARCH = r"(?:search|suche|recherche|buscar|busca|busqueda|ricerca|cerca|zoeken|szukaj|poisk|arama|sok|haku)"
_FEED = r"(?:feed|feeds|rss|rss2|atom|feed\.xml|rss\.xml|atom\.xml|index\.rdf)"
PATH_KINDS: dict[str, str] = {
    "login": rf"/(?:{_ACCOUNT}|(?:accounts?|users?|auth|members?|profile)/(?:login|register|password)){_END}",
    "cart": rf"/{_CART}{_END}|[?&](?:add[-_]to[-_]cart|add[-_]to[-_]wishlist)=",
    "search": rf"/{_SEARCH}(?:[-_]?results?)?(?:/label/|{_END})|/{_SEARCH}(?:\.[a-z]+)?/?\?"
    r"|/(?:index\.[a-z]+)?\?(?:[^&]*&)*(?:s|q|query|search|keywords?)=",
    "feed": rf"/{_FEED}/?(?:$|\?)|\.(?:rss|atom)(?:$|\?)|[?&]feed=(?:rss2?|atom|rdf)|[?&]format=feed(?:$|&)",
    "edit": r"[?&]action=(?:edit|history|submit|raw)(?:$|&)|[?&](?:oldid|diff)=[0-9]|[?&]replytocom=",
    "share": r"[?&]share=[a-z]|/(?:sharer|share)(?:\.php)?\?|/(?:email|send)-?to-?(?:a-)?friend(?:$|[/?])",
    "api": r"/wp-json(?:/|$)|/xmlrpc\.php|/oembed(?:/|$|\?)|/wp-admin(?:/|$)|/cgi-bin/mailman/",
    "print": r"/print(?:$|/$|\?)|[?&](?:print|printable|view=print|printer_?friendly)=(?:1|yes|true)(?:$|&)",
}
"""What a page is, by the shape of its path and query, where that shape is never the place of a document of its own."""

_Hashes = npt.NDArray[np.uint64]
_HOST_LINE = re.compile(r"^(?:[a-z0-9_-]{1,63}\.)+[a-z0-9_-]{1,63}$", re.MULTILINE)
_HOST_NAME = re.compile(r"(?:[a-z0-9_](?:[a-z0-9_-]{0,62})\.)*[a-z0-9_-]{1,63}")
_IP_ADDRESS = re.compile(r"\[?(?:[0-9]{1,3}(?:\.[0-9]{1,3}){3}|[0-9a-f]*:[0-9a-f:.]*:[0-9a-f.]*)\]?")
# What a hosts file says of the machine itself.
_OWN_NAMES = frozenset({"localhost", "localhost.localdomain", "local", "broadcasthost"})
_PORT = re.compile(r":[0-9]+$")
_COMMENT = re.compile(r"(?:^|(?<=\s))#.*$")
_PUNYCODE = re.compile(r"\bxn--([a-z0-9-]{1,59})\b")
_SCHEME = re.compile(r"[a-z][a-z0-9+.-]*://(?:[^/?#]*@)?")
_BYTES_AT_ONCE = 4 << 20
_SUB_WORDS_AT_ONCE = 200  # in one pattern
_UNREADABLE = (OSError, EOFError, zlib.error)  # what gzip raises, too


@dataclass(frozen=True)
class Lists:
    """Lists that were read: `names` in their order, hashes of their entries, sorted, and which list each is of."""

    names: tuple[str, ...]
    domains: _Hashes
    domain_lists: npt.NDArray[np.uint16]
    urls: _Hashes
    url_lists: npt.NDArray[np.uint16]
    url_hosts: _Hashes
    hard_words: tuple[str, ...] = ()
    soft_words: tuple[str, ...] = ()
    sub_words: tuple[str, ...] = ()

    @classmethod
    def load(cls, paths: Iterable[str | Path]) -> Lists:
        """Read lists; a name without a folder is one of ``conf/lists``. An entry belongs to the first list that has it.

        Raises:
            ConfigError: a list is missing or empty, or has lines that are not of its kind; up to 20 lines of a file.
        """
        names: list[str] = []
        hashes: dict[str, list[_Hashes]] = {kind: [] for kind in ("domains", "urls", "url_hosts")}
        places: dict[str, list[npt.NDArray[np.uint16]]] = {"domains": [], "urls": []}
        words: dict[str, dict[str, None]] = {kind: {} for kind in KINDS[2:]}
        problems: list[str] = []
        for category, kind, path in (file for named in paths for file in _files(find(named))):
            if category not in names:
                names.append(category)
            try:
                for entries, hosts in _entries(path, kind):
                    if kind in words:
                        words[kind].update(dict.fromkeys(entries))
                        continue
                    hashes[kind].append(_hash(entries))
                    places[kind].append(np.full(len(entries), names.index(category), dtype=np.uint16))
                    if hosts:
                        hashes["url_hosts"].append(np.unique(_hash(hosts)))
            except ConfigError as error:
                problems.append(str(error))
        if problems:
            raise ConfigError("\n".join(problems))
        domains, domain_lists = _sorted(hashes["domains"], places["domains"])
        urls, url_lists = _sorted(hashes["urls"], places["urls"])
        url_hosts = np.unique(np.concatenate([*hashes["url_hosts"], np.empty(0, np.uint64)]))
        return cls(
            tuple(names), domains, domain_lists, urls, url_lists, url_hosts, **{k: tuple(w) for k, w in words.items()}
        )


def find(named: str | Path) -> Path:
    """A list of ``conf/lists`` by its name, or any file or folder by its path.

    Raises:
        ConfigError: there is none; the message lists the names there are.
    """
    shipped = resources.folder("conf") / "lists"
    path = shipped / named if isinstance(named, str) and "/" not in named else Path(named)
    if not path.exists():
        known = sorted(entry.name for entry in shipped.iterdir() if entry.is_dir())
        raise ConfigError(f"there is no list {str(named)!r}: wanted the path of a file or folder, or one of {known}")
    return path


def digests(paths: Iterable[str | Path]) -> tuple[str, ...]:
    """Per file that `Lists.load` reads, in order, its list, kind and SHA-256: what decides the answers.

    Raises:
        ConfigError: a list is missing or empty.
    """
    return tuple(
        f"{category}/{kind} {_sha256(path)}" for named in paths for category, kind, path in _files(find(named))
    )


def batch(urls: pa.Array | Sequence[str | None], lists: Lists) -> pa.RecordBatch:
    """One row of `SCHEMA` per URL; what is no URL, or has no host, is on no list. Never raises for what a URL holds."""
    given = urls if isinstance(urls, pa.Array) else pa.array(urls, pa.string())
    # In small letters throughout: hosts have no case, and lists of paths have lost theirs.
    texts = pc.utf8_lower(pc.fill_null(given, ""))
    parts = pc.extract_regex(texts, _URL)
    paths, queries = (pc.fill_null(pc.struct_field(parts, name), "") for name in ("path", "query"))
    # Hosts repeat: what is asked of a host is asked once a batch.
    encoded = pc.fill_null(pc.struct_field(parts, "host"), "").dictionary_encode()
    hosts = [_clean_host(host) for host in encoded.dictionary.to_pylist()]
    host_at = encoded.indices.to_numpy(zero_copy_only=False)
    list_at, entries = _on_lists(hosts, host_at, paths, queries, lists)
    hard, soft, sub, found = _words_found(_readable(texts), hosts, host_at, lists)
    is_ip = pc.match_substring_regex(pa.array(hosts, pa.string()), _IP).cast(pa.int64())
    names = pa.array([*lists.names, NONE], pa.string())
    columns = [
        names.take(pa.array(np.where(list_at < 0, len(lists.names), list_at))),
        entries,
        hard,
        soft,
        sub,
        found,
        is_ip.take(pa.array(host_at)),
        _path_kinds(pc.binary_join_element_wise(paths, queries, "")),
        pc.cast(pc.utf8_length(texts), pa.int64()),
    ]
    return pa.RecordBatch.from_arrays(columns, schema=SCHEMA)


def _clean_host(host: str) -> str:
    """A host in small letters as a name of ASCII letters; one that cannot be written so stays as it is."""
    host = host.rstrip(".")
    if "%" in host:
        host = unquote(host).lower()
    if not host.isascii():
        with contextlib.suppress(idna.IDNAError, UnicodeError):
            host = idna.encode(host, uts46=True).decode()
    return host


def _on_lists(
    hosts: Sequence[str], host_at: npt.NDArray[np.int32], paths: pa.Array, queries: pa.Array, lists: Lists
) -> tuple[npt.NDArray[np.int64], pa.Array]:
    """Per URL the first list that has its host or a beginning of it, -1 for none, and the entry."""
    found = _first_domains(hosts, lists)
    list_at = np.array([place for place, _ in found], dtype=np.int64)[host_at]
    entries = pa.array([entry for _, entry in found], pa.string()).take(pa.array(host_at))
    if not lists.urls.size:
        return list_at, entries
    known = _look_up(_hash([_without_www(host) for host in hosts]), lists.url_hosts) >= 0
    rows = np.flatnonzero(known[host_at])
    if rows.size:
        texts = (column.take(pa.array(rows)).to_pylist() for column in (paths, queries))
        candidates = [
            _beginnings(hosts[at], path, query) for at, path, query in zip(host_at[rows].tolist(), *texts, strict=True)
        ]
        changed = entries.to_pylist()
        for row, (place, entry) in zip(rows.tolist(), _first(candidates, lists.urls, lists.url_lists), strict=True):
            if place >= 0 and (list_at[row] < 0 or place < list_at[row]):
                list_at[row], changed[row] = place, entry
        entries = pa.array(changed, pa.string())
    return list_at, entries


def _first_domains(hosts: Sequence[str], lists: Lists) -> list[tuple[int, str | None]]:
    """Per host: the first list that has it or a domain above it, and which; (-1, None) for none."""
    return _first([_with_domains_above(host) for host in hosts], lists.domains, lists.domain_lists)


def _with_domains_above(host: str) -> list[str]:
    if len(host) > MAX_HOST_CHARACTERS:
        return []
    if host.startswith("[") or host[-1:].isdigit():
        return [host]
    names, dot = [host], host.find(".")
    while dot >= 0:
        names.append(host[dot + 1 :])
        dot = host.find(".", dot + 1)
    return names


def _first(
    candidates: Sequence[Sequence[str]], known: _Hashes, places: npt.NDArray[np.uint16]
) -> list[tuple[int, str | None]]:
    """Of each row of names the first place that has one, and the name; of two in one place, the first named."""
    found: list[tuple[int, str | None]] = [(-1, None)] * len(candidates)
    rows = np.repeat(np.arange(len(candidates)), [len(names) for names in candidates])
    flat = [name for names in candidates for name in names]
    at = _look_up(_hash(flat), known, places)
    for index in np.flatnonzero(at >= 0).tolist():
        row, place = int(rows[index]), int(at[index])
        if found[row][0] < 0 or place < found[row][0]:
            found[row] = place, flat[index]
    return found


def _beginnings(host: str, path: str, query: str) -> list[str]:
    """What an entry of `urls` may be to cover this URL, the longest first: the host and some of its path."""
    path = _clean_path(path)
    wholes = [path + _clean_path(query), path] if query else [path]
    cuts = [index for index, character in enumerate(path) if character == "/"][:MAX_PATH_PARTS]
    return [_without_www(host) + path for path in [*wholes, *(path[:cut] for cut in reversed(cuts))]]


def _clean_path(path: str) -> str:
    return (unquote(path).lower() if "%" in path else path).rstrip("/")


def _without_www(host: str) -> str:
    return host.removeprefix("www.")


def _readable(texts: pa.Array) -> pa.Array:
    """The URLs with what is written in percents or punycode as the letters that it stands for."""
    rows = np.flatnonzero(pc.match_substring_regex(texts, "%[0-9a-f]{2}|xn--").to_numpy(zero_copy_only=False))
    if not rows.size:
        return texts
    mask = np.zeros(len(texts), dtype=bool)
    mask[rows] = True
    decoded = [_decoded(text) for text in texts.take(pa.array(rows)).to_pylist()]
    return pc.replace_with_mask(texts, pa.array(mask), pa.array(decoded, pa.string()))


def _decoded(text: str) -> str:
    return _PUNYCODE.sub(_unicode_label, unquote(text).lower())


def _unicode_label(match: re.Match[str]) -> str:
    try:
        return match[1].encode("ascii").decode("punycode")
    except UnicodeError:
        return match[0]


def _words_found(
    readable: pa.Array, hosts: Sequence[str], host_at: npt.NDArray[np.int32], lists: Lists
) -> tuple[pa.Array, pa.Array, pa.Array, pa.Array]:
    """Per URL: different hard words, soft words, sub-words of the host, and all of them."""
    parts = pc.split_pattern_regex(readable, _NOT_A_WORD)
    parents = pc.list_parent_indices(parts).to_numpy(zero_copy_only=False)
    tokens = pc.list_flatten(parts)
    found: dict[int, dict[str, None]] = {}
    counts = []
    for words in (lists.hard_words, lists.soft_words):
        count = np.zeros(len(readable), dtype=np.int64)
        hits = np.flatnonzero(pc.is_in(tokens, pa.array(words, pa.string())).to_numpy(zero_copy_only=False))
        pairs = dict.fromkeys(zip(parents[hits].tolist(), tokens.take(pa.array(hits)).to_pylist(), strict=True))
        for row, word in pairs:
            count[row] += 1
            found.setdefault(row, {})[word] = None
        counts.append(count)
    of_host = _sub_words(hosts, lists.sub_words)
    count = np.array([len(words) for words in of_host], dtype=np.int64)[host_at]
    for row in np.flatnonzero(count).tolist():
        found.setdefault(row, {}).update(dict.fromkeys(of_host[host_at[row]]))
    told: list[str | None] = [None] * len(readable)
    for row, words_of_row in found.items():
        told[row] = " ".join(words_of_row)
    return pa.array(counts[0]), pa.array(counts[1]), pa.array(count), pa.array(told, pa.string())


def _sub_words(hosts: Sequence[str], sub_words: Sequence[str]) -> list[list[str]]:
    """Per host the sub-words in it, whatever stands around them; dots and hyphens do not part them."""
    squeezed = pc.replace_substring_regex(pa.array(hosts, pa.string()), "[.-]", "")
    found: list[list[str]] = [[] for _ in hosts]
    for start in range(0, len(sub_words), _SUB_WORDS_AT_ONCE):
        some = sub_words[start : start + _SUB_WORDS_AT_ONCE]
        hits = pc.match_substring_regex(squeezed, "|".join(map(re.escape, some))).to_numpy(zero_copy_only=False)
        for index in np.flatnonzero(hits).tolist():
            text = squeezed[index].as_py()
            found[index] += [word for word in some if word in text]
    return found


def _path_kinds(places: pa.Array) -> pa.Array:
    """Per path and query the first of `PATH_KINDS` that it has the shape of."""
    kinds = np.zeros(len(places), dtype=np.int64)
    for number, pattern in reversed(list(enumerate(PATH_KINDS.values(), start=1))):
        kinds[pc.match_substring_regex(places, pattern).to_numpy(zero_copy_only=False)] = number
    return pa.array([NONE, *PATH_KINDS], pa.string()).take(pa.array(kinds))


def _hash(texts: Sequence[str]) -> _Hashes:
    """SipHash of UTF-8 with pandas' own key: the same in every process."""
    if not texts:
        return np.empty(0, np.uint64)
    hashes: _Hashes = pd.util.hash_array(np.array(texts, dtype=object), categorize=False)
    return hashes


def _sorted(
    hashes: Sequence[_Hashes], places: Sequence[npt.NDArray[np.uint16]]
) -> tuple[_Hashes, npt.NDArray[np.uint16]]:
    """Hashes in order, each once, with the first place that it was given."""
    if not hashes:
        return np.empty(0, np.uint64), np.empty(0, np.uint16)
    # np.unique gives the first index of each.
    unique, first = np.unique(np.concatenate(hashes), return_index=True)
    return unique, np.concatenate(places)[first]


def _look_up(hashes: _Hashes, known: _Hashes, places: npt.NDArray[np.uint16] | None = None) -> npt.NDArray[np.int64]:
    """The place of each hash, 0 where there are no places, -1 where it is not known."""
    if not known.size:
        return np.full(hashes.size, -1, dtype=np.int64)
    at = np.minimum(np.searchsorted(known, hashes), known.size - 1)
    place = 0 if places is None else places[at].astype(np.int64)
    found: npt.NDArray[np.int64] = np.where(known[at] == hashes, place, -1)
    return found


def _files(path: Path) -> list[tuple[str, str, Path]]:
    """(list, kind, file) of all that a path names, in order."""
    if path.is_file():
        kind = _kind(path)
        return [(path.parent.name, kind, path)] if kind else [(path.name.split(".")[0], "domains", path)]
    found = _files_of(path)
    if not found:
        folders = {folder.resolve(): folder for folder in sorted(path.iterdir(), reverse=True) if folder.is_dir()}
        found = [file for folder in sorted(folders.values()) for file in _files_of(folder)]
    if not found:
        raise ConfigError(f"{path}: has no list, wanted a file named {', '.join(KINDS)}, or folders that have one")
    return found


def _files_of(folder: Path) -> list[tuple[str, str, Path]]:
    files = {_kind(path): path for path in sorted(folder.iterdir(), reverse=True) if path.is_file()}
    return [(folder.resolve().name, kind, files[kind]) for kind in KINDS if kind in files]


def _kind(path: Path) -> str | None:
    name = path.name.removesuffix(".gz").removesuffix(".txt")
    return name if name in KINDS else None


def _open(path: Path) -> gzip.GzipFile | io.BufferedReader:
    return gzip.open(path) if path.suffix == ".gz" else path.open("rb")


def _sha256(path: Path) -> str:
    digest = hashlib.sha256()
    try:
        with _open(path) as file:
            while part := file.read(_BYTES_AT_ONCE):
                digest.update(part)
    except _UNREADABLE as error:
        raise ConfigError(f"{path}: cannot be read: {error}") from error
    return digest.hexdigest()


def _entries(path: Path, kind: str) -> Iterator[tuple[list[str], list[str]]]:
    """Entries of a file, some thousand lines at a time, and of `urls` also their hosts.

    Raises:
        ConfigError: after the last line, what is wrong with up to 20 lines.
    """
    problems: list[str] = []
    number = 1
    try:
        with _open(path) as file:
            while lines := file.readlines(_BYTES_AT_ONCE):
                text = b"".join(lines).decode("utf-8", "surrogateescape").lower().replace("\r\n", "\n")
                # Nearly all lines of a long list are a name and nothing else.
                if kind == "domains" and len(names := _HOST_LINE.findall(text)) == len(lines):
                    yield names, []
                else:
                    yield _parsed(text, kind, number, problems)
                number += len(lines)
    except _UNREADABLE as error:
        raise ConfigError(f"{path}: cannot be read: {error}") from error
    if problems:
        more = f"; and {len(problems) - MAX_PROBLEMS} more lines" if len(problems) > MAX_PROBLEMS else ""
        raise ConfigError(f"{path}: {'; '.join(problems[:MAX_PROBLEMS])}{more}")


def _parsed(text: str, kind: str, number: int, problems: list[str]) -> tuple[list[str], list[str]]:
    """Entries and hosts of some lines, the first of which is line `number`; adds to `problems`."""
    entries: list[str] = []
    hosts: list[str] = []
    for at, line in enumerate(text.removesuffix("\n").split("\n"), start=number):
        content = _COMMENT.sub("", line.removeprefix("\ufeff") if at == 1 else line).strip()
        if not content:
            continue
        try:
            if kind == "domains":
                entries += _domains(content)
            elif kind == "urls":
                host, entry = _url(content)
                entries.append(entry)
                hosts.append(host)
            else:
                entries.append(_word(content))
        except ValueError as error:
            problems.append(f"line {at}: {content[:80]!r} {error}")
    return entries, hosts


def _domains(line: str) -> list[str]:
    names = line.split()
    if len(names) > 1:  # as in a hosts file
        if not _IP_ADDRESS.fullmatch(names[0]):
            raise ValueError("has more than one word, wanted one host name, or an address and names")
        names = [name for name in names[1:] if name not in _OWN_NAMES and not name.startswith("ip6-")]
    return [_domain(name) for name in names]


def _domain(name: str) -> str:
    """A name that covers itself and what is below it."""
    if "/" in name:
        raise ValueError("is a URL, wanted a host name; lists of URLs are files named urls")
    host = _clean_host(name.removeprefix("*").removeprefix("."))
    if _IP_ADDRESS.fullmatch(host):
        return f"[{host}]" if ":" in host and not host.startswith("[") else host
    if not _HOST_NAME.fullmatch(host) or len(host) > MAX_HOST_CHARACTERS:
        raise ValueError("is no host name, wanted one such as example.com")
    if "." not in host and host not in _top_level_domains():
        raise ValueError("has no dot and is no top-level domain, wanted a host name such as example.com")
    return host


def _url(line: str) -> tuple[str, str]:
    """Host and entry of a line with a host and a path."""
    if any(map(str.isspace, line)):
        raise ValueError("has a space, wanted a host and a path such as example.com/path")
    host, slash, path = _SCHEME.sub("", line, count=1).partition("/")
    if not slash:
        raise ValueError("has no path, wanted one such as example.com/path; lists of hosts are files named domains")
    host = _without_www(_domain(_PORT.sub("", host)))
    path, mark, query = path.partition("#")[0].partition("?")
    return host, f"{host}{_clean_path('/' + path)}{_clean_path(mark + query)}"


def _word(line: str) -> str:
    if not all(character.isalnum() or unicodedata.category(character)[0] == "M" for character in line):
        raise ValueError("has more than letters and digits, wanted one word")
    return line


@lru_cache(maxsize=1)
def _top_level_domains() -> frozenset[str]:
    # Without addresses and cache it reads the list that comes with the package, and nothing else.
    return frozenset(tldextract.TLDExtract(suffix_list_urls=(), cache_dir=None).tlds)
