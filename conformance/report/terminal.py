"""The verdict of one rule: as a line of the table, and as a block of text."""

import os
import shlex
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from reference.errors import one_line

if TYPE_CHECKING:
    from conformance.rulebook import Rule, Verdict
    from reference.tracks import Track

# Characters of one field; several offences together take a few hundred.
_LONGEST = 2000

# The attribute of a pytest report that has them.
FACTS = "lpcvc_facts"

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

    `track` is the track's id, `again` the command that repeats this line, `title` the rule in a
    sentence, and `shown_by` the kind of the section of a report that shows it. What there is
    nothing to say of is empty.
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
    title: str = ""
    shown_by: str = ""

    def __post_init__(self) -> None:
        for name in ("subject", "seen", "remedy", "expected"):  # may hold names of a file
            object.__setattr__(self, name, one_line(getattr(self, name), _LONGEST))


def facts_of(report: object) -> dict[str, str]:
    """What an item has found, by name, of the report of its call; empty for any other."""
    return getattr(report, FACTS, {})


def row_of(report: object) -> Row | None:
    """The row of the item that a report is about; None for one that is about no rule."""
    facts = facts_of(report)
    own = {name: facts[name] for name in Row.__annotations__ if name in facts}
    return Row(**own) if own else None  # type: ignore[arg-type]


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
