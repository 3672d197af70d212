"""Rows of cells as lines of text."""

import re
import textwrap
from collections.abc import Collection, Sequence

# What is to be copied stays in one line.
_COMMAND = re.compile(r" *(->|again) +(pip|lpcvc|pytest|qai-hub) ")


def columns(rows: Sequence[Sequence[str]], right: Collection[str] = ()) -> list[str]:
    """The rows, each cell as wide as the widest of its column, two spaces before and between them.

    The first row is the headings; the columns of those in `right` end at one place.
    """
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = []
    for row in rows:
        cells = [
            cell.rjust(width) if heading in right else cell.ljust(width)
            for heading, cell, width in zip(rows[0], row, widths, strict=True)
        ]
        lines.append("  " + "  ".join(cells).rstrip())
    return lines


def fitted(text: str, width: int) -> str:
    """Lines longer than `width` go on below the last of their columns that begins in the left half;
    commands are left.
    """
    return "\n".join(each for line in text.split("\n") for each in _folded(line, width))


def _folded(line: str, width: int) -> list[str]:
    if len(line) <= width or _COMMAND.match(line):
        return [line]
    starts = [gap.end() for gap in re.finditer(r"^ +|  +|-> ", line) if gap.end() <= width // 2]
    return textwrap.wrap(
        line,
        width,
        subsequent_indent=" " * (starts[-1] if starts else 2),
        break_long_words=False,
        break_on_hyphens=False,
    )
