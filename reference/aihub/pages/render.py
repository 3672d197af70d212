"""Turns views into pages. Text is escaped; no page needs a script to be read."""

import datetime
import re
from functools import cache
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from reference.tracks import format_shape

_SIGN = re.compile(r"(?<=[_@/=-])(?=\w)|(?<=[.:])(?=[^\W\d])")
_UNITS = ("bytes", "KB", "MB", "GB", "TB")


@cache
def _environment() -> Environment:
    environment = Environment(
        loader=PackageLoader("reference.aihub.pages"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(
        size=size,
        duration=duration,
        micros=micros,
        when=when,
        iso=iso,
        shape=format_shape,
        breakable=breakable,
        sentence=sentence,
    )
    return environment


def render(template: str, **context: Any) -> str:
    """The page that a template makes of `context`."""
    return _environment().get_template(template).render(**context)


def breakable(name: str) -> Markup:
    """A name that goes on in the next line behind its signs, not within its words."""
    return Markup("<wbr>").join(_SIGN.split(name))


def sentence(text: str) -> str:
    """With a capital and a full stop."""
    return f"{text[0].upper()}{text[1:]}." if text else ""


def size(count: int | None) -> str:
    """`30.6 MB`, in steps of 1000; a dash where it is not known."""
    if count is None:
        return "–"  # noqa: RUF001 - the typographer's dash
    value, unit = float(count), 0
    while value >= 1000 and unit < len(_UNITS) - 1:
        value, unit = value / 1000, unit + 1
    return f"{value:.0f} {_UNITS[unit]}" if unit == 0 else f"{value:.3g} {_UNITS[unit]}"


def duration(seconds: float | None) -> str:
    """`0.4 s`, `2 min 5 s`; a dash before it starts."""
    if seconds is None:
        return "–"  # noqa: RUF001
    if seconds < 60:
        return f"{seconds:.1f} s"
    return f"{int(seconds // 60)} min {int(seconds % 60)} s"


def micros(time: float | None) -> str:
    """`20.8 ms`, `3.5 µs`; a dash where it is not known."""
    if time is None:
        return "–"  # noqa: RUF001
    for limit, factor, unit in ((1e3, 1.0, "µs"), (1e6, 1e-3, "ms")):
        if time < 0.9995 * limit:
            return f"{time * factor:.3g} {unit}"
    return duration(time / 1e6)


def when(moment: datetime.datetime) -> str:
    """`21 Nov 2026, 12:30 UTC`."""
    return f"{moment.astimezone(datetime.UTC):%-d %b %Y, %H:%M} UTC"


def iso(moment: datetime.datetime) -> str:
    """For the `datetime` attribute of a time."""
    return moment.astimezone(datetime.UTC).isoformat(timespec="seconds")
