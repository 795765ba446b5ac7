"""Near duplicates by MinHash: signatures, bands, the exact similarity to verify candidates by, and clusters of it.

The Jaccard similarity of two texts is the share of their shingles (`etl.kernels.shingles`) that both have. A signature
estimates it (Broder 1997): each of its values is the smallest shingle hash after a random permutation, and two texts
agree in one with the probability of their similarity. Bands of some values each find the similar without comparing all
with all: texts of similarity s share at least one of b bands of r rows with probability 1 - (1 - s**r)**b. Bands only
propose; `compare` decides. Similarity alone makes chains: with `StarLink` all members of a cluster are similar to its
founder, with `CompleteLink` to each other.

`batch` and `compare` read a `Geometry`, of which ``conf/minhash`` has the published ones. Functions ending in ``_of``
do many texts at once in ragged arrays, as `etl.kernels.shingles` has them. Nothing here depends on the machine, the
process, or the texts that stand beside a text.
"""

from __future__ import annotations

import functools
import hashlib
import math
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from etl.config import STRICT
from etl.kernels import shingles
from etl.kernels.shingles import CHARACTERS, Bytes, Hashes, Offsets, Places, words

__all__ = [
    "CompleteLink",
    "Curve",
    "Geometry",
    "StarLink",
    "band_hashes",
    "band_hashes_of",
    "batch",
    "compare",
    "curve",
    "jaccard",
    "permutations",
    "probability",
    "shingle_hashes",
    "shingle_hashes_of",
    "signature",
    "signatures_of",
    "words",
]

Values = npt.NDArray[np.uint32]
Floats = npt.NDArray[np.float64]

BLOCK_SHINGLES = 1 << 16  # permuted at once: 0.25 MB, which stays in the cache of a core
SKETCH_BANDS = 8  # bytes of an int64
# The set of a text of more bytes is made in passes, each for a range of hashes, and of at most so many shingles or so.
PASS_BYTES = 1 << 23
PASS_SHINGLES = 1 << 24
# Characters of texts of which `compare` makes the shingles at once.
COMPARED_CHARACTERS = 1 << 22
MAX_TRIED = 64  # clusters that a set is compared with
MAX_VALUES = 1 << 16  # seven times those of RefinedWeb, which has the most


@dataclass(frozen=True)
class Geometry:
    """Which shingles, and which bands of their MinHash values, propose pairs: a file of ``conf/minhash``.

    unit: of what a shingle is made, words or characters.
    size: units of a shingle.
    bands, rows: a pair is proposed when all `rows` values of one of `bands` bands are equal.
    seed: of the permutations; another one proposes other pairs of those that have the same similarity.
    """

    __pydantic_config__ = STRICT

    name: str
    description: str
    source: str
    unit: str = shingles.WORDS
    size: int = 5  # this and the bands: FineWeb, Penedo et al. 2024
    bands: int = 14
    rows: int = 8
    seed: int = 1

    def __post_init__(self) -> None:
        problems = []
        if self.unit not in shingles.UNITS:
            problems.append(f"unit is {self.unit!r}, wanted one of {', '.join(shingles.UNITS)}")
        for name in ("size", "bands", "rows"):
            if getattr(self, name) < 1:
                problems.append(f"{name} is {getattr(self, name)}, wanted at least 1")
        if self.bands * self.rows > MAX_VALUES:
            problems.append(f"bands times rows is {self.bands * self.rows}, wanted at most {MAX_VALUES}")
        if problems:
            raise ValueError("; ".join(problems))

    @property
    def label(self) -> str:
        """All that makes signatures comparable: those of two labels are not."""
        geometry = f"{self.unit} {self.size}, {self.bands} x {self.rows}, seed {self.seed}"
        return f"{geometry}, tokenizer {shingles.VERSION}"


def batch(texts: pa.Array, geometry: Geometry) -> pa.RecordBatch:
    """One row per text, in order; null is a text without words.

    normal_hash: of the sequence of words, 32 hexadecimal digits; null without words.
    shingle_set: of the set of shingles, 32 hexadecimal digits. Texts that share it have similarity 1. Null without.
    shingles: int32, how many different ones.
    sketch: int64, the lowest bytes of MinHash values of 8 bands, so that documents sorted by it lie beside their likes
        (LSH Forest, Bawa et al. 2005); null without shingles.
    bands: list<int64>, the hash of the values of each band, with the number of the band in it; empty without shingles.

    A text of hundreds of megabytes takes some hundred megabytes more, and time that is linear in its length.
    """
    data, offsets, is_valid = _utf8(texts)
    found = _Columns(len(offsets) - 1, geometry)
    is_huge = np.diff(offsets) > PASS_BYTES
    for text in np.flatnonzero(is_valid & is_huge).tolist():
        found.put_huge(text, data[offsets[text] : offsets[text + 1]])
    some = np.flatnonzero(is_valid & ~is_huge)
    for group in shingles.groups(data, offsets, geometry.size, geometry.unit, some):
        found.put(group)
    return found.rows()


def compare(left: Sequence[str | None], right: Sequence[str | None], geometry: Geometry) -> tuple[Floats, Floats]:
    """Jaccard similarity and containment of each pair of texts: two float64 (n,).

    Containment is the share of the smaller set that the larger one has too. Both are over all shingles, so exact; two
    texts without words are equal, 1, and one without has nothing in common with another, 0. Each text is read once
    however often it occurs, and held from its first pair to its last, so pairs that share texts should lie together.
    """
    numbers: dict[str, int] = {}
    pairs = [
        tuple(numbers.setdefault(text or "", len(numbers)) for text in both) for both in zip(left, right, strict=True)
    ]
    texts = list(numbers)
    last = {number: place for place, pair in enumerate(pairs) for number in pair}
    sets: dict[int, Hashes] = {}
    measured = np.zeros((len(pairs), 3), dtype=np.int64)  # shingles of both, of the left and of the right text
    for first, end in _rounds(pairs, texts):
        new = [n for n in dict.fromkeys(n for pair in pairs[first:end] for n in pair) if n not in sets]
        small = [number for number in new if not _is_huge(texts[number])]
        made, offsets = shingles.sets_of([texts[number] for number in small], geometry.size, geometry.unit)
        sets.update(zip(small, shingles.split(made, offsets), strict=True))
        for place in range(first, end):
            one, other = pairs[place]
            if one in sets and other in sets:
                measured[place] = _shared(sets[one], sets[other]), sets[one].size, sets[other].size
            else:
                measured[place] = _shared_in_passes(texts[one], texts[other], geometry)
            for number in (one, other):
                if last[number] == place:
                    sets.pop(number, None)
    shared, sizes = measured[:, 0], measured[:, 1:]
    both_empty = sizes.max(axis=1, initial=0) == 0
    union, smaller = sizes.sum(axis=1) - shared, sizes.min(axis=1)
    return _share(shared, union, both_empty), _share(shared, smaller, both_empty)


def shingle_hashes(text: str, size: int) -> Hashes:
    """Hashes of the shingles of `size` words, sorted, each once: uint64 (n,).

    A text of fewer words is one shingle; one without words has none. The same on every machine and in every process.
    """
    return shingle_hashes_of([text], size)[0]


def shingle_hashes_of(texts: Sequence[str], size: int) -> tuple[Hashes, Offsets]:
    """`shingle_hashes` of each text, ragged.

    Raises:
        ValueError: `size` is less than 1.
    """
    return shingles.sets_of(texts, size)


@functools.lru_cache(maxsize=16)
def permutations(count: int, seed: int) -> Values:
    """Multipliers and addends of `count` permutations: uint32 (2, count), not to be written to."""
    drawn = [hashlib.blake2b(f"{seed} {n}".encode(), digest_size=8).digest() for n in range(count)]
    perms: Values = np.frombuffer(b"".join(drawn), dtype="<u4").reshape(count, 2).T.astype(np.uint32)
    perms[0] |= np.uint32(1)  # odd, so that it is a permutation
    perms.setflags(write=False)
    return perms


def signature(hashes: Hashes, perms: Values) -> Values:
    """MinHash values: uint64 (n,) and uint32 (2, k) -> uint32 (k,).

    Each is the smallest of ``a * h + b mod 2**32``, h the lower half of a hash, so the wrap of uint32 arithmetic is
    meant. Two of a billion unlike shingles are taken for one, where 64 bits would take twice the time.

    Raises:
        ValueError: `hashes` is empty; an empty set has no minimum.
    """
    if hashes.size == 0:
        raise ValueError("no shingles: a text without words has no signature")
    smallest: Values = signatures_of(hashes, np.array([0, hashes.size]), perms)[0]
    return smallest


def signatures_of(hashes: Hashes, offsets: Offsets, perms: Values) -> Values:
    """`signature` of each text: ragged and (2, k) -> uint32 (texts, k). A text without shingles has all ones."""
    sizes = np.diff(offsets)
    found = np.full((sizes.size, perms.shape[1]), np.iinfo(np.uint32).max, dtype=np.uint32)
    filled = np.flatnonzero(sizes)
    lower = hashes.astype(np.uint32)
    first = 0
    while first < filled.size:
        # As many whole texts as fit in a block, at least one: a long text alone is done in parts.
        start = offsets[filled[first]]
        last = max(first + 1, int(np.searchsorted(offsets[filled + 1], start + BLOCK_SHINGLES, side="right")))
        rows = filled[first:last]
        end = offsets[rows[-1] + 1]
        if end - start > BLOCK_SHINGLES:
            for part in range(start, end, BLOCK_SHINGLES):
                block = lower[part : min(part + BLOCK_SHINGLES, end)]
                np.minimum(
                    found[rows], _smallest(block, np.zeros(1, np.int64), perms), out=found[rows[0] : rows[0] + 1]
                )
        else:
            found[rows] = _smallest(lower[start:end], offsets[rows] - start, perms)
        first = last
    return found


def _smallest(block: Values, starts: Offsets, perms: Values) -> Values:
    """Of each stretch of `block`, the smallest value of each permutation: (stretches, k)."""
    permuted = np.empty_like(block)
    found: Values = np.empty((perms.shape[1], starts.size), dtype=np.uint32)
    for number, (multiplier, addend) in enumerate(perms.T):
        np.multiply(block, multiplier, out=permuted)
        np.add(permuted, addend, out=permuted)
        np.minimum.reduceat(permuted, starts, out=found[number])
    by_text: Values = found.T
    return by_text


def band_hashes(signature: Values, bands: int) -> list[int]:
    """A hash of the values of each band: (k,) -> `bands` signed 64-bit numbers."""
    return [int(value) for value in band_hashes_of(signature[np.newaxis], bands)[0]]


def band_hashes_of(signatures: Values, bands: int) -> npt.NDArray[np.int64]:
    """`band_hashes` of each text: (texts, k) -> int64 (texts, bands).

    The number of the band is hashed too, so that a hash is of one band.

    Raises:
        ValueError: k is no multiple of `bands`.
    """
    texts, size = signatures.shape
    if bands < 1 or size % bands:
        raise ValueError(f"a signature of {size} values has no {bands} bands of one size")
    rows = signatures.reshape(texts, bands, size // bands)
    hashed = np.tile(shingles.mixed(np.arange(1, bands + 1, dtype=np.uint64)), (texts, 1))
    for row in range(rows.shape[2]):
        hashed = shingles.mixed(hashed * np.uint64(shingles.STEP) + rows[:, :, row])
    signed: npt.NDArray[np.int64] = hashed.view(np.int64)
    return signed


def jaccard(left: Hashes, right: Hashes) -> float:
    """The similarity of two sets of hashes, each sorted and without repeats: 0 to 1. Two empty sets are equal: 1."""
    shared = _shared(left, right)
    union = left.size + right.size - shared
    return shared / union if union else 1.0


def probability(similarity: float, bands: int, rows: int) -> float:
    """That two texts of a similarity share at least one band."""
    return float(1 - (1 - similarity**rows) ** bands)


@dataclass(frozen=True)
class Curve:
    """How many pairs a geometry proposes, by their similarity.

    recall: of pairs at or above the threshold, and false_candidates: of pairs below it, the share that is proposed,
    if similarities are spread evenly, as datasketch assumes when it chooses bands. Pairs of real texts lie near 0
    mostly, and those that are alike near 1, so that both are worse than what a corpus shows.
    """

    geometry: Geometry
    threshold: float
    points: tuple[tuple[float, float], ...]  # similarity, probability to be proposed
    recall: float
    false_candidates: float

    def __str__(self) -> str:
        return "\n".join(
            [
                f"{self.geometry.name}: {self.geometry.label}",
                "similarity  proposed",
                *(f"{similarity:10.2f}  {proposed:8.4f}" for similarity, proposed in self.points),
                f"recall at or above {self.threshold:g}: {self.recall:.4f}",
                f"false candidates below {self.threshold:g}: {self.false_candidates:.4f}",
            ]
        )


def curve(geometry: Geometry, threshold: float = 0.8) -> Curve:
    """The curve of a geometry, from similarity 0.5 to 1 by steps of 0.05.

    Raises:
        ValueError: `threshold` is not between 0 and 1.
    """
    if not 0 < threshold < 1:
        raise ValueError(f"threshold is {threshold:g}, wanted more than 0 and less than 1")
    similarities = [step / 20 for step in range(10, 21)]

    def mean(low: float, high: float) -> float:
        middles = low + (high - low) * (np.arange(10_000) + 0.5) / 10_000
        return float(np.mean(1 - (1 - middles**geometry.rows) ** geometry.bands))

    return Curve(
        geometry,
        threshold,
        tuple((each, probability(each, geometry.bands, geometry.rows)) for each in similarities),
        recall=mean(threshold, 1),
        false_candidates=mean(0, threshold),
    )


class StarLink:
    """Puts sets of shingles into clusters around founders: every member is similar to its founder, no two founders are.

    Sets are placed one by one: each joins the likest founder that it is at least `similarity` like, the first of
    several, or founds a cluster. So a set that comes after all that it may be dropped for is dropped for one that it
    was compared with, and of two that are kept it is known that they are not alike. At most `MAX_TRIED` founders are
    compared with a set, those that share most of its first shingles. A set that was placed before is where it was.

    Raises:
        ValueError: `similarity` is not in (0, 1].
    """

    def __init__(self, similarity: float) -> None:
        if not 0 < similarity <= 1:
            raise ValueError(f"similarity is {similarity:g}, wanted more than 0 and at most 1")
        self._similarity = similarity
        self._founders = _Founders(similarity)
        self._sets: list[Hashes] = []
        self._cluster_of: dict[bytes, int] = {}  # by the digest of a set

    def place(self, hashes: Hashes) -> int:
        """The number of the cluster that a set joins; `hashes` are sorted and without repeats. The first one is 0."""
        return _placed(hashes, self._cluster_of, self._place)

    def _place(self, hashes: Hashes) -> int:
        found = [(-jaccard(hashes, self._sets[number]), number) for number in self._founders.like(hashes)]
        if found and -min(found)[0] >= self._similarity:
            return min(found)[1]
        self._sets.append(hashes)
        self._founders.add(hashes, len(self._sets) - 1)
        return len(self._sets) - 1


class CompleteLink:
    """Puts sets of shingles into clusters of which all members are similar to each other.

    Sets are placed one by one, and where one goes depends on those before it only, so the order should be a stated
    one. Each goes into a cluster of which every member is known to be at least `similarity` like it, the one whose
    founder is likest, or else founds a new one.

    A cluster keeps the sets of at most `max_kept` members, to compare with. Of the others it remembers what proves
    them similar without a comparison, for which there are two ways:
    - Jaccard distance is a metric (Levandowsky and Winter 1971), so two members at distances d and e of the founder
      are at most d + e apart;
    - sets that both hold the core, the shingles that all members have, share at least these. Pages made from one
      template are told by that, however many they are.
    So no pair of a cluster is below `similarity`, and a component of similar sets is one cluster while it has no more
    than `max_kept` different members; beyond that, one of which it is not proved that it is like all goes on to
    another cluster, though it may be like them. A set that was placed before is where it was, at no cost.

    The work for a set is bounded too: at most `MAX_TRIED` clusters are tried of those that take members as they are
    alike, and as many of those that are full and take what lies close to their founders.

    Raises:
        ValueError: `similarity` is not in (0, 1], or `max_kept` is less than 1.
    """

    def __init__(self, similarity: float, max_kept: int = 64) -> None:
        problems = []
        if not 0 < similarity <= 1:
            problems.append(f"similarity is {similarity:g}, wanted more than 0 and at most 1")
        if max_kept < 1:
            problems.append(f"max_kept is {max_kept}, wanted at least 1")
        if problems:
            raise ValueError("; ".join(problems))
        self._similarity = similarity
        self._max_kept = max_kept
        self._clusters: list[_Cluster] = []
        self._cluster_of: dict[bytes, int] = {}  # by the digest of a set
        self._open = _Founders(similarity)
        self._full = _Founders(1 - (1 - similarity) / 2)

    def place(self, hashes: Hashes) -> int:
        """The number of the cluster that a set joins; `hashes` are sorted and without repeats. The first one is 0."""
        return _placed(hashes, self._cluster_of, self._place)

    def _place(self, hashes: Hashes) -> int:
        for number in self._open.like(hashes):
            cluster = self._clusters[number]
            if cluster.take(hashes):
                if not cluster.is_open:
                    self._open.remove(cluster.founder, number)
                    self._full.add(cluster.founder, number)
                return number
        for number in self._full.like(hashes):
            if self._clusters[number].take(hashes):
                return number
        number = len(self._clusters)
        self._clusters.append(_Cluster(hashes, self._similarity, self._max_kept))
        (self._open if self._clusters[number].is_open else self._full).add(hashes, number)
        return number


def _placed(hashes: Hashes, cluster_of: dict[bytes, int], place: Callable[[Hashes], int]) -> int:
    """Where a set was placed before, by its digest, or where it is placed now."""
    digest = hashlib.blake2b(_little(hashes), digest_size=16).digest()
    if digest not in cluster_of:
        cluster_of[digest] = place(hashes)
    return cluster_of[digest]


class _Founders:
    """Which clusters have a founder that may be similar to a set: it and the set share one of their first shingles.

    Of sets of n shingles this similar, n * (1 - similarity) at most are not shared, so one of the first ones of each
    is (prefix filter, Chaudhuri et al. 2006). For a shingle that very many founders have, only the first are found.
    """

    def __init__(self, similarity: float) -> None:
        self._similarity = similarity
        self._founded: dict[int, list[int]] = {}

    def add(self, founder: Hashes, number: int) -> None:
        for shingle in self._first(founder):
            numbers = self._founded.setdefault(shingle, [])
            if len(numbers) < MAX_TRIED:
                numbers.append(number)

    def remove(self, founder: Hashes, number: int) -> None:
        for shingle in self._first(founder):
            if number in self._founded[shingle]:
                self._founded[shingle].remove(number)

    def like(self, hashes: Hashes) -> list[int]:
        """Numbers of clusters, those that share most of the first shingles first, `MAX_TRIED` at most."""
        shared = Counter(number for shingle in self._first(hashes) for number in self._founded.get(shingle, ()))
        return sorted(shared, key=lambda number: (-shared[number], number))[:MAX_TRIED]

    def _first(self, hashes: Hashes) -> list[int]:
        first: list[int] = hashes[: hashes.size - math.ceil(self._similarity * hashes.size - _EPSILON) + 1].tolist()
        return first


_EPSILON = 1e-9  # so that rounding proves nothing


class _Cluster:
    """Sets that are similar to each other; see `CompleteLink`."""

    def __init__(self, founder: Hashes, similarity: float, max_kept: int) -> None:
        self.founder = founder
        self._similarity = similarity
        self._room = max_kept - 1
        self._kept: list[tuple[float, Hashes]] = []  # with their distance from the founder
        self._reach = 0.0  # the largest distance from the founder of those that are not kept
        self._core: Hashes | None = founder  # None when it proves nothing any more
        self._largest = founder.size

    @property
    def is_open(self) -> bool:
        """Sets may join that are not close to the founder."""
        return len(self._kept) < self._room or self._core is not None

    def take(self, hashes: Hashes) -> bool:
        """Let a set join if it is known to be similar to all members."""
        small, large = sorted((hashes.size, self.founder.size))
        if small < self._similarity * large:
            return False
        distance = 1 - jaccard(hashes, self.founder)
        if 1 - distance < self._similarity:
            return False
        core = None if self._core is None else np.intersect1d(hashes, self._core, assume_unique=True)
        largest = max(self._largest, hashes.size)
        is_proved = core is not None and self._proves(core.size, hashes.size, self._largest)
        is_full = len(self._kept) >= self._room
        if is_full and distance > (1 - self._similarity) / 2 - _EPSILON:
            # Of two such members only the core can tell that they are similar.
            if core is None or not is_proved or not self._proves(core.size, largest, largest):
                return False
        elif not is_proved and not self._is_like_all(hashes, distance):
            return False
        if is_full:
            self._reach = max(self._reach, distance)
        else:
            self._kept.append((distance, hashes))
        self._core = core if core is not None and self._proves(core.size, core.size, largest) else None
        self._largest = largest
        return True

    def _proves(self, shared: int, size: int, largest: int) -> bool:
        """That sets that share so much are similar, one of a size, and the other of at most the largest."""
        return shared >= self._similarity * (size + largest - shared) + _EPSILON or shared == size == largest

    def _is_like_all(self, hashes: Hashes, distance: float) -> bool:
        room = 1 - self._similarity - distance - _EPSILON
        if self._reach and self._reach > room:
            return False
        return all(apart <= room or jaccard(hashes, kept) >= self._similarity for apart, kept in self._kept)


class _Columns:
    """The columns of `batch`, filled as texts are read."""

    def __init__(self, texts: int, geometry: Geometry) -> None:
        self._geometry = geometry
        self._perms = permutations(geometry.bands * geometry.rows, geometry.seed)
        self._set_hash = hashlib.sha256(f"{geometry.unit} {geometry.size} ".encode())
        self._normal_hashes: list[str | None] = [None] * texts
        self._shingle_sets: list[str | None] = [None] * texts
        self._shingles = np.zeros(texts, dtype=np.int32)
        self._signatures = np.zeros((texts, geometry.bands * geometry.rows), dtype=np.uint32)

    def put(self, group: shingles.Group) -> None:
        texts = group.texts.tolist()
        for text, hashes in zip(texts, shingles.split(group.words, group.word_offsets), strict=True):
            if hashes.size:
                self._normal_hashes[text] = hashlib.sha256(_little(hashes)).hexdigest()[:32]
        for text, hashes in zip(texts, shingles.split(group.shingles, group.offsets), strict=True):
            if hashes.size:
                digest = self._set_hash.copy()
                digest.update(_little(hashes))
                self._shingle_sets[text] = digest.hexdigest()[:32]
        self._shingles[group.texts] = np.diff(group.offsets)
        self._signatures[group.texts] = signatures_of(group.shingles, group.offsets, self._perms)

    def put_huge(self, text: int, data: Bytes) -> None:
        geometry = self._geometry
        normal, set_hash = hashlib.sha256(), self._set_hash.copy()
        smallest = np.full(self._perms.shape[1], np.iinfo(np.uint32).max, dtype=np.uint32)
        number = 0
        for hashes, found in shingles.stream(data, geometry.size, geometry.unit):
            normal.update(_little(hashes))
            number += found.size
            if found.size:
                np.minimum(smallest, signature(found, self._perms), out=smallest)
        if number:
            for found in _passes(data, geometry, -(-number // PASS_SHINGLES)):
                set_hash.update(_little(found))
                self._shingles[text] += found.size
            self._normal_hashes[text] = normal.hexdigest()[:32]
            self._shingle_sets[text] = set_hash.hexdigest()[:32]
            self._signatures[text] = smallest

    def rows(self) -> pa.RecordBatch:
        bands, rows = self._geometry.bands, self._geometry.rows
        has = self._shingles > 0
        signatures = self._signatures[has]
        hashes = band_hashes_of(signatures, bands)
        offsets = shingles.ends_of(has * np.int64(bands))
        firsts = np.arange(SKETCH_BANDS) % bands * rows + np.arange(SKETCH_BANDS) // bands % rows
        sketches = np.zeros(has.size, dtype=np.int64)
        sketches[has] = np.ascontiguousarray(signatures[:, firsts].astype(np.uint8)).view(">i8")[:, 0]
        return pa.RecordBatch.from_arrays(
            [
                pa.array(self._normal_hashes, pa.string()),
                pa.array(self._shingle_sets, pa.string()),
                pa.array(self._shingles),
                pa.array(sketches, mask=~has),
                pa.ListArray.from_arrays(pa.array(offsets, pa.int32()), pa.array(hashes.ravel())),
            ],
            names=["normal_hash", "shingle_set", "shingles", "sketch", "bands"],
        )


def _utf8(texts: pa.Array) -> tuple[Bytes, Offsets, npt.NDArray[np.bool_]]:
    """The bytes of an array of strings, without a copy, and which of them are not null."""
    array = texts.combine_chunks() if isinstance(texts, pa.ChunkedArray) else texts
    array = array.cast(pa.large_string())
    _, ends, data = array.buffers()
    if not len(array) or ends is None:
        return np.zeros(0, np.uint8), np.zeros(len(array) + 1, np.int64), np.zeros(len(array), bool)
    offsets = np.frombuffer(ends, np.int64)[array.offset : array.offset + len(array) + 1]
    of_data = np.frombuffer(data, np.uint8) if data is not None and data.size else np.zeros(0, np.uint8)
    return of_data, offsets, array.is_valid().to_numpy(zero_copy_only=False)


def _little(hashes: Hashes) -> memoryview:
    """What is hashed on every machine: the bytes of numbers, the lowest first."""
    return np.ascontiguousarray(hashes, dtype="<u8").data


def _passes(data: Bytes, geometry: Geometry, number: int) -> Iterator[Hashes]:
    """The set of shingles of a text, sorted, in `number` parts, of which one is held at a time."""
    for place in range(number):
        parts = []
        for _, found in shingles.stream(data, geometry.size, geometry.unit):
            part = found[((found >> np.uint64(32)) * np.uint64(number)) >> np.uint64(32) == place]
            parts.append(np.unique(part))
        made = np.concatenate(parts)
        parts.clear()
        made.sort()
        is_new = np.ones(made.size, dtype=bool)
        np.not_equal(made[1:], made[:-1], out=is_new[1:])
        yield made[is_new]


def _is_huge(text: str) -> bool:
    return len(text) * (1 if text.isascii() else 4) > PASS_BYTES


def _shared_in_passes(left: str, right: str, geometry: Geometry) -> tuple[int, int, int]:
    """As `compare` measures a pair, where the sets of both are too large to hold."""
    data = [shingles.encoded([text])[0] for text in (left, right)]
    # A shingle takes a byte of a text at least, and where words are letters two or three.
    number = -(-max(part.size for part in data) // (PASS_SHINGLES * (1 if geometry.unit == CHARACTERS else 2)))
    shared = one = other = 0
    for some, more in zip(*(_passes(part, geometry, number) for part in data), strict=True):
        shared, one, other = shared + _shared(some, more), one + some.size, other + more.size
    return shared, one, other


def _rounds(pairs: Sequence[tuple[int, ...]], texts: Sequence[str]) -> Iterator[tuple[int, int]]:
    """Stretches of pairs with new texts of about `COMPARED_CHARACTERS`."""
    seen: set[int] = set()
    first = characters = 0
    for place, pair in enumerate(pairs):
        new = set(pair) - seen
        more = sum(len(texts[number]) for number in new)
        if characters + more > COMPARED_CHARACTERS and place > first:
            yield first, place
            first, characters = place, 0
        seen |= new
        characters += more
    if first < len(pairs):
        yield first, len(pairs)


def _shared(left: Hashes, right: Hashes) -> int:
    """How many hashes two sets have in common."""
    small, large = (left, right) if left.size <= right.size else (right, left)
    if small.size * 16 < large.size:
        places = np.searchsorted(large, small)
        return int(np.count_nonzero(large[np.minimum(places, large.size - 1)] == small))
    both = np.concatenate((small, large))
    both.sort(kind="stable")
    return int(np.count_nonzero(both[1:] == both[:-1]))


def _share(part: Places, whole: Places, is_equal: npt.NDArray[np.bool_]) -> Floats:
    shares = np.divide(part, whole, out=np.zeros(whole.size), where=whole > 0)
    shares[is_equal] = 1
    return shares
