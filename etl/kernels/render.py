"""From the chosen blocks of a page to its text, with the structure that training needs.

Paragraphs are apart by a blank line; list items have a mark and one line each; a table row is one line, its cells apart
by ``|``; preformatted text keeps its white space; lines of one paragraph stay lines. The form ``markdown`` also marks
headings, fences code and draws tables; links are plain text in both.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from etl.kernels.dom import TAGS, Layout

FORMS = ("text", "markdown")
MAX_INDENT = 6

_HEADINGS = {"h1": 1, "h2": 2, "h3": 3, "h4": 4, "h5": 5, "h6": 6}
_FENCE = "```"


class _Place(NamedTuple):
    """What an element lies in: numbers of elements, -1 where there is none."""

    item: int = -1  # li, dd
    row: int = -1
    cell: int = -1
    table: int = -1
    pre: int = -1
    heading: int = 0
    lists: int = 0  # how many lists are around it
    is_ordered: bool = False
    quote: bool = False


def render(layout: Layout, chosen: Iterable[int], form: str = "text") -> str:
    """The text of the `chosen` blocks, which are in document order.

    Raises:
        ValueError: `form` is not one of FORMS.
    """
    if form not in FORMS:
        raise ValueError(f"form is {form!r}, wanted one of {', '.join(FORMS)}")
    places: dict[int, _Place] = {}
    out: list[str] = []
    last, last_block, last_owner = _Place(), -2, -1
    counts: dict[int, int] = {}
    owners = layout.owner.tolist()
    parents = layout.parent.tolist()
    names = [TAGS[number] for number in layout.tag.tolist()] if len(layout.tag) < 5000 else None
    tags = layout.tag.tolist()
    marks = form == "markdown"
    for block in chosen:
        owner = owners[block]
        place = _place(owner, parents, names or _Names(tags), places)
        text = layout.blocks[block]
        joint = _joint(
            last,
            place,
            is_same=owner == last_owner,
            is_next=block == last_block + 1 and bool(layout.is_break[last_block]),
        )
        if out and last.pre >= 0 and last.pre != place.pre and marks:
            out.append("\n" + _FENCE)
        if marks and last.table >= 0 and last.row != place.row:
            out.append(_row_end(out, last, place, counts))
        if out:
            out.append(joint)
        opening = ""
        if place.item >= 0 and place.item != last.item and place.row < 0:
            opening = _mark(place, parents, counts)
        if marks:
            if place.pre >= 0 and place.pre != last.pre:
                opening += _FENCE + "\n"
            elif place.heading and (not opening) and joint != " ":
                opening = "#" * place.heading + " "
            elif place.quote and joint == "\n\n":
                opening += "> "
            if place.row >= 0 and place.row != last.row:
                opening = "| "
            if place.table >= 0:
                text = text.replace("|", "\\|")
        out.append(opening + text)
        last, last_block, last_owner = place, block, owner
    if marks and last.pre >= 0:
        out.append("\n" + _FENCE)
    if marks and last.table >= 0:
        out.append(_row_end(out, last, _Place(), counts))
    return "".join(out)


class _Names:
    """Tag names by element, looked up when asked."""

    def __init__(self, tags: list[int]) -> None:
        self._tags = tags

    def __getitem__(self, element: int) -> str:
        return TAGS[self._tags[element]]


def _place(element: int, parents: list[int], names: list[str] | _Names, places: dict[int, _Place]) -> _Place:
    way = []
    while element not in places:
        way.append(element)
        if parents[element] == element:
            break
        element = parents[element]
    place = places.get(element, _Place())
    for element in reversed(way):
        place = places[element] = _inside(place, element, names[element])
    return place


def _inside(place: _Place, element: int, name: str) -> _Place:
    if name in ("li", "dd"):
        return place._replace(item=element, row=-1, cell=-1, table=-1)
    if name in ("ul", "ol", "menu", "dl"):
        return place._replace(lists=place.lists + (name != "dl"), is_ordered=name == "ol", item=-1)
    if name in _HEADINGS:
        return place._replace(heading=_HEADINGS[name])
    if name in ("pre", "textarea"):
        return place._replace(pre=element)
    if name == "table":
        return place._replace(table=element, row=-1, cell=-1, item=-1)
    if name == "tr":
        return place._replace(row=element, cell=-1)
    if name in ("td", "th"):
        return place._replace(cell=element)
    if name == "blockquote":
        return place._replace(quote=True)
    return place


def _joint(last: _Place, place: _Place, *, is_same: bool, is_next: bool) -> str:
    """What stands between two blocks."""
    if place.row >= 0 and place.row == last.row:
        return " " if place.cell == last.cell else " | "
    if place.table >= 0 and place.table == last.table:
        return "\n"
    if place.pre >= 0 and place.pre == last.pre:
        return "\n"
    if is_same and is_next:
        return "\n"
    if place.item >= 0 and last.item >= 0:
        return "\n"
    return "\n\n"


def _mark(place: _Place, parents: list[int], counts: dict[int, int]) -> str:
    indent = "  " * min(max(place.lists - 1, 0), MAX_INDENT)
    if not place.is_ordered:
        return indent + "- "
    ordered = parents[place.item]
    counts[ordered] = counts.get(ordered, 0) + 1
    return f"{indent}{counts[ordered]}. "


def _row_end(out: list[str], last: _Place, place: _Place, counts: dict[int, int]) -> str:
    """Closes a row of a Markdown table; after the first row of a table also the line that makes it one."""
    if last.row < 0:
        return ""
    if last.table in counts:
        return " |"
    counts[last.table] = 1
    row = "".join(out)
    cells = row[row.rfind("\n| ") + 1 :].count(" | ") + 1
    return " |\n" + "| --- " * cells + "|"
