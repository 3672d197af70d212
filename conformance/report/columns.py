"""Rows of cells as lines of text."""

from collections.abc import Collection, Sequence


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
