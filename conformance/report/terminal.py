"""The verdict of one rule as a block of text, and of all rules as a table."""

import os
import shlex
import textwrap
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from reference.errors import one_line

if TYPE_CHECKING:
    from conformance.rulebook import Rule, Verdict
    from reference.tracks import Track

# Characters of one field; several offences together take a few hundred.
_LONGEST = 2000

Status = Literal["pass", "FAIL", "warn", "skip"]

COLOURS: dict[Status, dict[str, bool]] = {
    "pass": {"green": True},
    "FAIL": {"red": True, "bold": True},
    "warn": {"yellow": True},
    "skip": {"light": True},
}


@dataclass(frozen=True)
class Row:
    """One line of the table; `subject` is the heading that it stands under.

    `track` is the track's id and `again` the command that repeats this line. What there is nothing
    to say of is empty.
    """

    subject: str
    rule: str
    level: str
    status: Status
    seen: str
    remedy: str
    track: str = ""
    expected: str = ""
    source: str = ""
    again: str = ""

    def __post_init__(self) -> None:
        for name in ("subject", "seen", "remedy", "expected"):  # may hold names of a file
            object.__setattr__(self, name, one_line(getattr(self, name), _LONGEST))

    def properties(self) -> list[tuple[str, str]]:
        """The row as report properties, which also reach JUnit XML."""
        return [(f"lpcvc_{name}", value) for name, value in vars(self).items()]

    @classmethod
    def from_properties(cls, properties: Iterable[tuple[str, object]]) -> "Row | None":
        """The row that `properties` holds, None for a test that is not about a rule."""
        found = {name.removeprefix("lpcvc_"): str(value) for name, value in properties}
        own = {name: found[name] for name in cls.__annotations__ if name in found}
        return cls(**own) if own.keys() == cls.__annotations__.keys() else None  # type: ignore[arg-type]


def explain_failure(
    track: "Track", rule: "Rule", verdict: "Verdict", options: Iterable[str]
) -> str:
    """The whole story of a broken rule: source, expected, seen, where, remedy, command.

    One line where nothing was expected of what was seen: a model that could not be run.
    """
    if not verdict.expected:
        return f"{rule.id}: {verdict.seen}; {verdict.remedy or rule.remedy}"
    lines = {
        "source": rule.source_for(track),
        "expected": verdict.expected,
        "seen": verdict.seen,
        "at": verdict.where,
        "remedy": verdict.remedy or rule.remedy,
        "again": repeat_rule(track, rule, options),
    }
    body = (f"  {name:<9}{text}" for name, text in lines.items() if text)
    return "\n".join([f"{rule.id} ({rule.level.value}): {rule.summary}", *body])


def repeat_rule(track: "Track", rule: "Rule", options: Iterable[str]) -> str:
    """The command that holds the same submission to `rule` alone."""
    suite = rule.needs if rule.needs in ("npu", "device") else "contract"
    return repeat(suite, track, options, rule.id)


def repeat(suite: str, track: "Track", options: Iterable[str], item: str) -> str:
    """The command that runs one item of a suite again."""
    command = ["pytest --pyargs conformance -m", suite, "--track", shell_word(track.spec), *options]
    return f"{' '.join(command)} -k {shlex.quote(f'::{item}]')}"


def shell_word(text: str) -> str:
    """`text` as a word of a command that can be printed, where need be as Bash takes it."""
    if text.isprintable():
        return shlex.quote(text)
    data = os.fsencode(text)
    plain = (chr(b) if 32 <= b < 127 and b not in b"'\\" else f"\\x{b:02x}" for b in data)
    return f"$'{''.join(plain)}'"


def table(rows: list[Row], width: int) -> Iterable[tuple[str, dict[str, bool]]]:
    """The lines of the table, with the markup of each, at most `width` columns wide."""
    columns = max(len(row.rule) for row in rows)
    for subject in dict.fromkeys(row.subject for row in rows):
        own = [row for row in rows if row.subject == subject]
        counts = {status: sum(row.status == status for row in own) for status in COLOURS}
        tally = ", ".join(f"{count} {status}" for status, count in counts.items() if count)
        yield "", {}
        yield f"{subject}: {tally}", {"bold": True}
        for row in own:
            if row.status == "skip":
                continue
            head = f"  {row.rule:<{columns}}  {row.level:<10}  {row.status}  "
            seen = f"{row.seen}, expected {row.expected}" if row.expected else row.seen
            yield from _wrapped(head, seen, width, COLOURS[row.status])
            if row.status == "warn":
                yield from _wrapped(" " * len(head), f"-> {row.remedy}", width, {"yellow": True})
        for reason in dict.fromkeys(row.seen for row in own if row.status == "skip"):
            ids = ", ".join(r.rule for r in own if r.status == "skip" and r.seen == reason)
            yield from _wrapped("  skip  ", f"{ids}: {reason}", width, COLOURS["skip"])


def _wrapped(
    head: str, text: str, width: int, markup: dict[str, bool]
) -> Iterable[tuple[str, dict[str, bool]]]:
    lines = textwrap.wrap(text, max(width - len(head), 40)) or [""]
    for index, line in enumerate(lines):
        yield (head if index == 0 else " " * len(head)) + line, markup
