"""The bytes of an archive, decompressed, with the place where each is stored.

A web archive is a row of records. Stored as .gz, .zst or .lz4 it is a row of *members* (gzip
members, Zstandard or LZ4 frames), by convention one for each record, so that a record can be
fetched with one range request. `Archive` reads such a file from front to back, says where
each member begins and ends, and never takes a broken file for a short one: what cannot be
read raises `Damage`, and `Archive.resync` finds the next whole member after it.
"""

import re
import zlib
from collections.abc import Callable, Iterator
from io import UnsupportedOperation
from typing import BinaryIO, Protocol

import pyarrow as pa
from fastwarc.stream_io import ZstdReader

READ_BYTES = 1 << 20  # one read of the underlying stream
FEED_BYTES = 64 << 10  # compressed bytes given to a decoder at a time
CHUNK_BYTES = 1 << 20  # decompressed bytes taken from a decoder at a time
RETAIN_BYTES = 8 << 20  # stored bytes of a member that are held, to search them if it is broken
PROBE_BYTES = 4 << 10  # decompressed bytes by which a member is known to begin a record
FRAME_CHUNK_BYTES = 64 << 10  # as CHUNK_BYTES, for Arrow, which never frees the buffer of a read that fails
# After broken bytes: places that look like the begin of a member and are none. By chance one byte in 2**24 does, so
# only a hostile file has that many before the next record.
MAX_PROBES = 4096

GZIP_MAGIC, ZSTD_MAGIC, LZ4_MAGIC = MAGICS = (b"\x1f\x8b\x08", b"\x28\xb5\x2f\xfd", b"\x04\x22\x4d\x18")
# What a member begins with. The reserved flag bits of gzip are zero (RFC 1952).
MEMBER = re.compile(
    b"%s[\x00-\x1f]|%s|%s" % (re.escape(GZIP_MAGIC), re.escape(ZSTD_MAGIC), re.escape(LZ4_MAGIC)), re.DOTALL
)
# RFC 8878, 3.1.2, and the LZ4 frame format: 16 magic numbers for frames that a decoder skips.
SKIPPABLE = re.compile(rb"[\x50-\x5f]\x2a\x4d\x18", re.DOTALL)
DICTIONARY_MAGIC = b"\x5d\x2a\x4d\x18"  # a frame that decoders skip: the dictionary of a .warc.zst file
# What may be left of the first line of a record: "WARC/1.0" or "http://...".
CUT_LINE = re.compile(rb"[A-Za-z][A-Za-z0-9+.-]*(?:[:/][^\n]*)?\Z")
MAX_DICTIONARY_BYTES = 16 << 20
BLANK = b"\r\n"
_NOT_ZERO = re.compile(rb"[^\0]")
_BLANKS = re.compile(rb"[\r\n]*")


class Damage(Exception):
    """Reading cannot go on here; `kind` is truncated, corrupt or unreadable."""

    def __init__(self, kind: str, detail: str) -> None:
        super().__init__(f"{kind}: {detail}")
        self.kind = kind
        self.detail = detail


class Stored:
    """A stream as stored, that knows its position and can go back to a byte it still holds."""

    def __init__(self, stream: BinaryIO) -> None:
        self._stream = stream
        self._data = b""  # the bytes held; the first is byte `_base` of the stream
        self._base = 0
        self._next = 0  # index into `_data` of the next byte to be read
        self._anchor = 0

    @property
    def position(self) -> int:
        return self._base + self._next

    @property
    def held_from(self) -> int:
        return self._base

    @property
    def held_to(self) -> int:
        return self._base + len(self._data)

    def anchor(self) -> None:
        """Hold the bytes from here on, up to `RETAIN_BYTES` of them."""
        self._anchor = self.position

    def peek(self, size: int) -> bytes:
        """Up to `size` next bytes, fewer only at the end of the stream; they stay unread."""
        while len(self._data) - self._next < size and self._more():
            pass
        return self._data[self._next : self._next + size]

    def feed(self, size: int) -> memoryview:
        """Some next bytes, at most `size`; empty at the end of the stream."""
        if self._next == len(self._data):
            self._more()
        view = memoryview(self._data)[self._next : self._next + size]
        self._next += len(view)
        return view

    def go(self, position: int) -> None:
        """Move to `position`, which must be held."""
        if not self._base <= position <= self.held_to:
            raise ValueError(f"byte {position} is not held: {self._base} to {self.held_to} are")
        self._next = position - self._base

    def search(self, pattern: re.Pattern[bytes], longest: int) -> bool:
        """Move to the next match of `pattern`, which is at most `longest` bytes, or to the end."""
        while True:
            if match := pattern.search(self._data, self._next):
                self._next = match.start()
                return True
            self._next = max(self._next, len(self._data) - longest + 1)
            self.anchor()
            if not self._more():
                self._next = len(self._data)
                return False

    def _more(self) -> bool:
        try:
            block = self._stream.read(READ_BYTES)
        except Exception as error:  # whatever a stream raises ends this file, and no other
            raise Damage("unreadable", f"{type(error).__name__}: {error}") from error
        if not block:
            return False
        position = self.position
        keep_from = max(min(self._anchor, position), position - RETAIN_BYTES, self._base)
        self._data = self._data[keep_from - self._base :] + block
        self._base = keep_from
        self._next = position - keep_from
        return True


class Decoder(Protocol):
    """One member being decompressed."""

    def read(self) -> bytes:
        """The next decompressed bytes; empty at the end of the member.

        Raises:
            Damage: the file ends inside the member, or its bytes are not what the format allows.
                Everything before the broken place has been returned.
        """


class Plain:
    """An archive that is not compressed: one member, as long as the file."""

    def __init__(self, stored: Stored) -> None:
        self._stored = stored

    def read(self) -> bytes:
        self._stored.anchor()
        return bytes(self._stored.feed(CHUNK_BYTES))


class Gzip:
    """One gzip member; its checksum is verified at its end."""

    def __init__(self, stored: Stored) -> None:
        self._stored = stored
        self._inflate = zlib.decompressobj(wbits=31)
        self._damage = ""

    def read(self) -> bytes:
        while not self._inflate.eof:
            if self._damage:
                raise Damage("corrupt", self._damage)
            before = self._inflate.copy()
            fed = self._inflate.unconsumed_tail or self._stored.feed(FEED_BYTES)
            try:
                chunk = self._inflate.decompress(fed, CHUNK_BYTES)
            except zlib.error as error:
                self._damage = f"gzip: {error}"
                chunk = _inflate_until_error(before, fed)
            if self._inflate.eof:
                self._stored.go(self._stored.position - len(self._inflate.unused_data))
            elif not fed and not chunk:
                raise Damage("truncated", "the file ends inside a gzip member")
            if chunk:
                return chunk
        return b""


def _inflate_until_error(inflate: "zlib._Decompress", fed: bytes | memoryview) -> bytes:
    """What `fed` holds before its broken place; zlib drops that when it raises."""
    chunk = bytearray()
    for index in range(len(fed)):
        try:
            chunk += inflate.decompress(fed[index : index + 1])
        except zlib.error:
            break
    return bytes(chunk)


class Framed:
    """One LZ4 or Zstandard frame; its checksum, where it has one, is verified at its end."""

    def __init__(
        self, stored: Stored, parts: Callable[[Stored], Iterator[bytes]], decompress: "Callable[[_FrameFile], _Chunks]"
    ) -> None:
        self._stored = stored
        self._parts = parts
        self._decompress = decompress
        self._start = stored.position
        self._done = 0  # decompressed bytes returned so far
        self._damage: tuple[str, str] | None = None
        self._open()

    def _open(self) -> None:
        self._frame = _FrameFile(self._parts(self._stored))
        self._chunks = self._decompress(self._frame)

    def read(self) -> bytes:
        if self._damage:
            raise Damage(*self._damage)
        try:
            chunk = self._chunks.read(FRAME_CHUNK_BYTES)
        except (OSError, ValueError) as error:
            self._damage = self._frame.damage or ("corrupt", str(error))
            chunk = self._until_damage()
        self._done += len(chunk)
        if not chunk:
            self._frame.finish()
            self._damage = self._damage or self._frame.damage
            if self._damage:
                raise Damage(*self._damage)
        return chunk

    def _until_damage(self) -> bytes:
        """What was decompressed when reading failed. It was dropped with the error, so it is read again by the byte."""
        if self._start < self._stored.held_from:
            return b""
        self._stored.go(self._start)
        self._open()
        chunk = bytearray()
        skipped = 0
        try:
            while skipped < self._done and (part := self._chunks.read(min(FRAME_CHUNK_BYTES, self._done - skipped))):
                skipped += len(part)
            while byte := self._chunks.read(1):
                chunk += byte
        except (OSError, ValueError):
            return bytes(chunk)
        return bytes(chunk)


class _Chunks(Protocol):
    def read(self, size: int, /) -> bytes: ...


class _FrameFile:
    """The stored bytes of one frame, and not one more, as a file.

    A frame that breaks off ends the file, and is `damage`: no exception of ours has to find its
    way through the decoder.
    """

    closed = False

    def __init__(self, parts: Iterator[bytes]) -> None:
        self._parts = parts
        self._rest = b""
        self._told = 0
        self.damage: tuple[str, str] | None = None  # an exception kept would keep its frames and what they hold

    def read(self, size: int = -1) -> bytes:
        while not self._rest:
            try:
                self._rest = next(self._parts)
            except StopIteration:
                return b""
            except Damage as damage:
                self.damage = damage.kind, damage.detail
                return b""
        if size < 0:
            size = len(self._rest)
        head, self._rest = self._rest[:size], self._rest[size:]
        self._told += len(head)
        return head

    def tell(self) -> int:
        return self._told

    def seek(self, offset: int, whence: int = 0) -> int:
        raise UnsupportedOperation("a frame is read once, from its start")

    def finish(self) -> None:
        """Go to the end of the frame."""
        while self.read():
            pass

    def readable(self) -> bool:
        return True

    def writable(self) -> bool:
        return False

    def seekable(self) -> bool:
        return False

    def close(self) -> None:
        self.closed = True


def _exactly(stored: Stored, size: int) -> bytes:
    data = stored.peek(size)
    stored.go(stored.position + len(data))
    if len(data) < size:
        raise Damage("truncated", "the file ends inside a compressed frame")
    return data


def _block(stored: Stored, size: int) -> Iterator[bytes]:
    while size:
        data = bytes(stored.feed(min(size, FEED_BYTES)))
        if not data:
            raise Damage("truncated", "the file ends inside a compressed frame")
        yield data
        size -= len(data)


def _lz4_parts(stored: Stored) -> Iterator[bytes]:
    """The bytes of one frame, by the LZ4 frame format 1.6."""
    head = _exactly(stored, 6)
    flags = head[4]
    yield head + _exactly(stored, (8 if flags & 0x08 else 0) + (4 if flags & 0x01 else 0) + 1)
    while (size := int.from_bytes(head := _exactly(stored, 4), "little") & 0x7FFFFFFF) > 0:
        if size > 4 << 20:
            raise Damage("corrupt", f"lz4: a block of {size} bytes, the format allows {4 << 20}")
        yield head
        yield from _block(stored, size + (4 if flags & 0x10 else 0))
    yield head + _exactly(stored, 4 if flags & 0x04 else 0)


def _zstd_parts(stored: Stored) -> Iterator[bytes]:
    """The bytes of one frame, by RFC 8878, 3.1.1."""
    head = _exactly(stored, 5)
    descriptor = head[4]
    single_segment = bool(descriptor & 0x20)
    content_size = (1 if single_segment else 0, 2, 4, 8)[descriptor >> 6]
    yield head + _exactly(stored, (not single_segment) + (0, 1, 2, 4)[descriptor & 3] + content_size)
    last = False
    while not last:
        head = _exactly(stored, 3)
        header = int.from_bytes(head, "little")
        last, kind, size = bool(header & 1), header >> 1 & 3, header >> 3
        if kind == 3 or size > 128 << 10:
            raise Damage("corrupt", f"zstd: a block of type {kind} and {size} bytes")
        yield head
        yield from _block(stored, 1 if kind == 1 else size)
    yield _exactly(stored, 4 if descriptor & 0x04 else 0)


def _decoder(stored: Stored, dictionary: bytes | None) -> Decoder | None:
    """The decoder of the member that begins here, or None if no member does."""
    magic = stored.peek(5)
    if not MEMBER.match(magic):
        return None
    if magic[0] == 0x1F:
        return Gzip(stored)
    if magic[0] == 0x04:
        return Framed(stored, _lz4_parts, lambda frame: _arrow(frame, "lz4"))
    if not magic[4:] or magic[4] & 3 == 0:
        return Framed(stored, _zstd_parts, lambda frame: _arrow(frame, "zstd"))
    # Arrow has no dictionaries. Without the dictionary FastWARC says that the frame cannot be read.
    return Framed(stored, _zstd_parts, lambda frame: ZstdReader(frame, dictionary=dictionary))


def _arrow(frame: _FrameFile, codec: str) -> _Chunks:
    chunks: _Chunks = pa.CompressedInputStream(pa.PythonFile(frame, mode="r"), codec)
    return chunks


def zstd_dictionary(start: bytes) -> bytes | None:
    """The dictionary of a .warc.zst file that begins with `start`; None if it has none.

    By the convention of the IIPC it is the first frame of the file, one that decoders skip, and
    may itself be compressed.
    """
    if not start.startswith(DICTIONARY_MAGIC):
        return None
    content = start[8 : 8 + int.from_bytes(start[4:8], "little")]
    if not content.startswith(ZSTD_MAGIC):
        return content
    try:
        with pa.CompressedInputStream(pa.BufferReader(content), "zstd") as stream:
            dictionary: bytes = stream.read(MAX_DICTIONARY_BYTES)
            return dictionary
    except (OSError, ValueError):
        return None


class Archive:
    """An archive being read from front to back; at any time it is inside at most one member.

    `begin_record` goes to the next record, `until` and `take` read it, `end_record` says where
    it ended. A record goes on into the next member unless a record begins there, so files cut
    into members without regard to their records are read too.

    After `begin_record` the record is at `offset` of the file as stored. In a member that holds
    several records only the first has a place of its own; those after it are counted on from
    there (offset + 1, offset + 2, ...) and `exact` is false: no range of the file gives them.
    """

    def __init__(
        self,
        stream: BinaryIO,
        starts: re.Pattern[bytes],
        next_starts: re.Pattern[bytes],
        dictionary: bytes | None = None,
    ) -> None:
        """`starts` matches what a record begins with, in `PROBE_BYTES` at most; `next_starts` a newline before that.

        `dictionary` is that of the Zstandard file of which `stream` is a part.
        """
        self.offset = 0
        self.exact = True
        self._stored = Stored(stream)
        self._starts = starts
        self._dictionary = dictionary
        self._next_starts = next_starts
        self._compressed: bool | None = None  # until the first bytes are seen
        self._decoder: Decoder | None = None
        self._data = b""  # decompressed bytes, of which those from `_next` on are unread
        self._next = 0
        self._ahead: bytes | None = None  # first bytes of a member that was opened to look whether a record begins
        self._pending: Damage | None = None  # met while looking there
        self._unreadable: Damage | None = None  # what reading the record that was begun will raise
        self._member_start = 0
        self._member_end = 0
        self._records = 0  # begun in this member
        self._fresh = True  # nothing but blank lines of this member has been read
        self._broken = False  # the decoder failed

    @property
    def size(self) -> int:
        """Bytes that the stream has given; at the end of the file, all that it has."""
        return self._stored.held_to

    @property
    def at_end_of_file(self) -> bool:
        """Whether no byte follows those at hand."""
        return self._in_member and self._decoder is None

    @property
    def _in_member(self) -> bool:
        """Whether the decoder is still that of the record, and not of the next member, opened to look at it."""
        return self._ahead is None and self._pending is None

    def begin_record(self) -> bool:
        """Go to the first byte of the next record; false at the end of the file.

        Where there are bytes that cannot be read it is true, and reading them raises `Damage`.
        """
        try:
            found = self._begin()
        except Damage as damage:
            self._unreadable, found = damage, True
        self.exact = self._fresh or not self._compressed
        self.offset = self._member_start + self._records if self._compressed else self._plain_position()
        self._fresh = False
        self._records += 1
        return found

    def _begin(self) -> bool:
        while self._skip_blank():
            if self._ahead is not None:
                self._data, self._next, self._ahead = self._ahead, 0, None
            elif self._pending is not None:
                damage, self._pending = self._pending, None
                raise damage
            elif not self._fill() and not self._open():
                return False
        return True

    def head(self, size: int) -> bytes:
        """Up to `size` next bytes of the record, which stay unread."""
        while len(self._data) - self._next < size and self._more():
            pass
        return self._data[self._next : self._next + size]

    def until(self, end: re.Pattern[bytes], limit: int) -> bytes | None:
        """The next bytes of the record up to and with `end`; None, and nothing read, if `limit` bytes have no `end`."""
        while not (match := end.search(self._data, self._next, self._next + limit)):
            if len(self._data) - self._next >= limit or not self._more():
                return None
        found = self._data[self._next : match.end()]
        self._next = match.end()
        return found

    def take(self, size: int) -> memoryview:
        """The next `size` bytes of the record, fewer only where it ends."""
        if len(self._data) - self._next < size:
            parts, have = [memoryview(self._data)[self._next :]], len(self._data) - self._next
            self._next = len(self._data)
            while have < size and self._more():
                parts.append(memoryview(self._data)[: size - have])
                self._next = len(parts[-1])
                have += self._next
            return memoryview(b"".join(parts))
        self._next += size
        return memoryview(self._data)[self._next - size : self._next]

    def following(self) -> bytes:
        """The next bytes of this member: enough of them to tell whether, after blank lines, they begin a record."""
        while True:
            ahead = self._data[self._next : self._next + PROBE_BYTES]
            line = ahead.lstrip(BLANK)
            if not self._in_member or len(ahead) == PROBE_BYTES or self._starts.match(line):
                return ahead
            try:
                if not self._fill():
                    return ahead
            except Damage as damage:
                if damage.kind == "truncated" and CUT_LINE.match(line):  # the file ends in the next record
                    return ahead
                raise

    def verify(self) -> None:
        """Raise the `Damage` that this member has further on, as far as it is not too long to be held."""
        while self._compressed and self._in_member and len(self._data) - self._next < RETAIN_BYTES and self._fill():
            pass

    def unread(self, data: memoryview) -> None:
        """Put back the last bytes that were taken."""
        self._data, self._next = bytes(data) + self._data[self._next :], 0

    def end_record(self) -> int | None:
        """Where the record and the blank lines after it end in the file as stored; None where no member ends."""
        while self._skip_blank():
            if not self._in_member:
                return self._member_start
            if not self._fill():
                return self._member_end
        return None if self._compressed else self._plain_position()

    def recover(self) -> bool:
        """Go to the next record that can be read; false if there is none.

        Raises:
            Damage: the stream itself fails (kind unreadable).
        """
        while True:
            try:
                if self._broken and not self._resync():
                    return False
                return self._find_start()
            except Damage as damage:
                if damage.kind == "unreadable":
                    raise
                if damage.kind == "truncated":
                    return False

    def _plain_position(self) -> int:
        return self._stored.position - (len(self._data) - self._next)

    def _skip_blank(self) -> bool:
        """Skip line ends; true if nothing is left of the bytes at hand."""
        self._next = _BLANKS.match(self._data, self._next).end()  # type: ignore[union-attr]  # it matches anything
        return self._next == len(self._data)

    def _fill(self) -> bool:
        """Add the next bytes of this member to those at hand; false at its end."""
        if self._decoder is None:
            return False
        try:
            chunk = self._decoder.read()
        except Damage:
            self._broken = True
            raise
        if not chunk:
            self._decoder = None
            self._member_end = self._stored.position
            return False
        self._data = self._data[self._next :] + chunk if self._next < len(self._data) else chunk
        self._next = 0
        return True

    def _more(self) -> bool:
        """Add bytes of this record to those at hand, from the next member too if no record begins there."""
        if self._unreadable:
            damage, self._unreadable = self._unreadable, None
            raise damage
        if not self._in_member:
            return False
        if self._fill():
            return True
        rest = self._data[self._next :]
        probe = b""
        while not probe:  # a member may be empty
            try:
                if not self._open():
                    return False
                probe = self._probe()
            except Damage as damage:
                if damage.kind != "corrupt":  # the file ends inside of this record
                    raise
                self._pending = damage
                return False
        if self._starts.match(probe):
            self._ahead = probe
            return False
        self._data, self._next, self._fresh = rest + probe, 0, False
        return True

    def _probe(self) -> bytes:
        """The first bytes of the member just opened, `PROBE_BYTES` or more if it has them. Those at hand stay."""
        at_hand = self._data, self._next
        self._data, self._next = b"", 0
        try:
            while len(self._data) < PROBE_BYTES and self._fill():
                pass
        except Damage:
            # What came before the broken place can be read; after it the decoder fails again.
            if not self._data:
                raise
            self._broken = False
        finally:
            probe = self._data
            self._data, self._next = at_hand
        return probe

    def _open(self) -> bool:
        """Open the next member; false at the end of the file."""
        stored = self._stored
        if self._compressed is None:
            magic = stored.peek(4)
            self._compressed = bool(MEMBER.match(magic) or SKIPPABLE.match(magic))
        if self._compressed:
            self._skip_between_members()
        if not stored.peek(1):
            return False
        stored.anchor()
        self._member_start, self._records, self._fresh = stored.position, 0, True
        self._decoder = _decoder(stored, self._dictionary) if self._compressed else Plain(stored)
        if self._decoder is None:
            self._broken = True
            rest = stored.peek(16)
            if any(magic.startswith(rest) for magic in MAGICS):
                raise Damage("truncated", "the file ends inside the first bytes of a compressed member")
            raise Damage("corrupt", f"{rest!r} begins no compressed member")
        return True

    def _skip_between_members(self) -> None:
        """Skip frames that decoders skip, and zero bytes, which pad files on some media."""
        stored = self._stored
        while True:
            head = stored.peek(8)
            if head[:1] == b"\0":
                stored.search(_NOT_ZERO, 1)
            elif len(head) == 8 and SKIPPABLE.match(head):
                size = 8 + int.from_bytes(head[4:], "little")
                if stored.position == 0 and size <= MAX_DICTIONARY_BYTES:
                    self._dictionary = zstd_dictionary(stored.peek(size)) or self._dictionary
                for _ in _block(stored, size):
                    pass
            else:
                return

    def _resync(self) -> bool:
        """Open the next member that begins a record; false if none is left."""
        stored = self._stored
        self._data, self._next, self._decoder, self._ahead, self._pending = b"", 0, None, None, None
        stored.go(max(self._member_start + 1, stored.held_from))
        for _ in range(MAX_PROBES):
            if not stored.search(MEMBER, 4):
                return False
            start = stored.position
            stored.anchor()
            self._decoder = _decoder(stored, self._dictionary)
            self._member_start, self._records, self._fresh = start, 0, True
            try:
                probe = self._probe()
            except Damage as damage:
                if damage.kind == "unreadable":
                    raise
                probe = b""
            if self._starts.match(probe.lstrip(BLANK)):
                self._broken = False
                self._ahead = probe
                return True
            self._decoder = None
            stored.go(start + 1)
        while stored.feed(READ_BYTES):
            stored.anchor()
        return False

    def _find_start(self) -> bool:
        """Go to the next place in this or a later member where a record begins; false at the end of the file."""
        while True:
            if match := self._next_starts.search(self._data, max(0, self._next - 1)):
                self._next = match.end()
                return True
            self._next = max(self._next, len(self._data) - PROBE_BYTES)
            if self._in_member and self._fill():
                continue
            self._data, self._next = b"", 0
            if self._pending is not None:
                damage, self._pending = self._pending, None
                raise damage
            if self._ahead is None:
                if not self._open():
                    return False
                self._ahead = self._probe()
            if self._starts.match(self._ahead.lstrip(BLANK)):
                return True
            self._data, self._ahead = self._ahead, None
