"""The picture of the report: records flow in as a river, each rule lets a stream out of it, and what is left is kept.

Only geometry is made here; colours and text styles are those of the page. All widths are true to one scale: a stream
is as many times thinner than the river as it has fewer records. Records that hold no page sink away at once, where
the river comes in; what flows on are pages.
"""

from __future__ import annotations

from dataclasses import dataclass

from etl.funnel import STAGE_WORDS, Funnel

_BEND = 10.0  # inner radius where a stream leaves the river
_TOP = 54.0  # room for the words on what came in
_SINK = 30.0  # depth at which what holds no page is gone
_HEAD = 64.0  # room for the words on pages, and the heads of the columns
_POOL = 64.0  # room for what is kept


@dataclass(frozen=True)
class Frame:
    """Where things are, in pixels: the left bank, the most that pages may be wide, columns of text."""

    width: float
    bank: float
    pages: float
    stream_end: float
    label: float
    documents: float
    tokens: float | None  # no column of tokens in a narrow picture
    pitch: float  # least distance of two streams


WIDE = Frame(width=960, bank=110, pages=290, stream_end=505, label=519, documents=862, tokens=960, pitch=34)
NARROW = Frame(width=380, bank=4, pages=112, stream_end=150, label=158, documents=380, tokens=None, pitch=36)


@dataclass(frozen=True)
class Stream:
    """What one rule drops: its outline, and where its label is."""

    path: str
    is_hair: bool  # thinner than a pixel
    y: float
    rule: str
    reason: str
    documents: int
    tokens: int


@dataclass(frozen=True)
class Mark:
    """A place on the left bank where a new stage begins, with the documents that reach it."""

    y: float
    word: str
    documents: int


@dataclass(frozen=True)
class River:
    """The whole picture."""

    frame: Frame
    height: float
    body: str
    sink: str | None  # the records that hold no page, beside the river until they are gone
    sink_end: float
    head: float  # y where the words on pages end and the rules begin
    mouth: float  # y where the river ends
    streams: tuple[Stream, ...]
    marks: tuple[Mark, ...]


def draw(funnel: Funnel, frame: Frame) -> River:
    """The picture of a funnel in a frame; the order of the streams is that of the rules."""
    unit = min(frame.pages / max(1, funnel.pages), (frame.width - frame.bank) / max(1, funnel.records))
    left = funnel.pages
    shore = frame.bank + left * unit
    head = _TOP + _SINK + _HEAD
    outline = [(frame.bank, _TOP), (shore, _TOP)]
    streams: list[Stream] = []
    marks: list[Mark] = []
    stage, y = "", head
    for step in funnel.steps:
        if step.rule == "record_type":
            continue
        if step.stage != stage:
            stage = step.stage
            marks.append(Mark(y + frame.pitch / 2, STAGE_WORDS.get(stage, stage), left))
        width = step.documents_dropped * unit
        outer, inner = frame.bank + left * unit, frame.bank + step.documents_left * unit
        centre = y + max(frame.pitch / 2, _BEND + width / 2)
        start = centre - width / 2 - _BEND
        streams.append(
            Stream(
                path=_stream(outer, inner, start, centre, width, frame.stream_end),
                is_hair=width < 1,
                y=centre,
                rule=step.rule,
                reason=step.reason,
                documents=step.documents_dropped,
                tokens=step.tokens_dropped,
            )
        )
        outline += [(outer, start), (inner, start)]
        left = step.documents_left
        y = centre + max(frame.pitch / 2, width / 2 + 6)
    mouth = y + _POOL / 3
    outline += [(frame.bank + left * unit, mouth), (frame.bank, mouth)]
    end = frame.bank + funnel.records * unit
    sink = _outline([(shore, _TOP), (end, _TOP), (end, _TOP + _SINK), (shore, _TOP + _SINK)])
    return River(
        frame=frame,
        height=mouth + _POOL,
        body=_outline(outline),
        sink=sink if funnel.no_pages else None,
        sink_end=_TOP + _SINK,
        head=head,
        mouth=mouth,
        streams=tuple(streams),
        marks=tuple(marks),
    )


def _outline(corners: list[tuple[float, float]]) -> str:
    return "M" + " L".join(f"{_n(x)} {_n(y)}" for x, y in corners) + " Z"


def _stream(outer: float, inner: float, start: float, centre: float, width: float, end: float) -> str:
    """Outline of a band of `width` that flows down between `inner` and `outer` and bends to the right, to `end`.

    Both edges turn around one centre, so that the band is as wide in the bend as before and after.
    """
    top, bottom = centre - width / 2, centre + width / 2
    return (
        f"M{_n(inner)} {_n(start)} L{_n(outer)} {_n(start)} "
        f"A{_n(_BEND)} {_n(_BEND)} 0 0 0 {_n(outer + _BEND)} {_n(top)} L{_n(end)} {_n(top)} "
        f"L{_n(end)} {_n(bottom)} L{_n(outer + _BEND)} {_n(bottom)} "
        f"A{_n(_BEND + width)} {_n(_BEND + width)} 0 0 1 {_n(inner)} {_n(start)} Z"
    )


def _n(value: float) -> str:
    return f"{value:.2f}".rstrip("0").rstrip(".")
