"""What the terminal shows of a run at its end: what is broken last, with what to do."""

import re
import textwrap
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from conformance.report.terminal import COLOURS, Row

Line = tuple[str, dict[str, bool]]

# Their figures are what one wants to know, kept or not.
_MEASURED = "DEV-"
_LEAST = 24  # columns for text, however narrow the terminal


@dataclass(frozen=True)
class Told:
    """A row with its story, which is empty where it is not to be told."""

    row: Row
    story: str = ""


def summary(found: Sequence[Told], width: int, *, verbose: bool) -> Iterator[Line]:
    """The lines with the markup of each, for a terminal of `width` columns.

    Subjects with nothing broken come first, and of each what is broken comes last. Rules that are
    kept are one line, if not `verbose`; a reason to skip is told once.
    """
    subjects: dict[str, list[Told]] = {}
    for told in found:
        subjects.setdefault(told.row.subject, []).append(told)
    broken = {name: any(t.row.status == "FAIL" for t in own) for name, own in subjects.items()}
    reasons: set[str] = set()
    for name in sorted(subjects, key=lambda name: broken[name]):
        yield from _subject(name, subjects[name], width, verbose, reasons)
    failing = [told for told in found if told.row.status == "FAIL"]
    if len(failing) > 1 and any(told.story for told in failing):
        yield from _to_do(failing, width)


def _subject(
    name: str, own: Sequence[Told], width: int, verbose: bool, reasons: set[str]
) -> Iterator[Line]:
    by_status = {s: [told for told in own if told.row.status == s] for s in COLOURS}
    tally = ", ".join(f"{len(found)} {status}" for status, found in by_status.items() if found)
    yield "", {}
    yield from _wrapped("", f"{name}: {tally}", width, {"bold": True}, indent="  ")
    kept = [told.row for told in by_status["pass"]]
    folded = [row for row in kept if row.title and not row.rule.startswith(_MEASURED)]
    if verbose:
        folded = []
    if folded:
        count = f"{len(folded)} rule{'s' if len(folded) > 1 else ''}"
        text = f"{count}, which -v lists: {ranges(row.rule for row in folded)}"
        yield from _wrapped("  pass  ", text, width, COLOURS["pass"])
    for row in kept:
        if row not in folded:
            yield from _row(row, width)
    for told in by_status["warn"]:
        yield from _row(told.row, width)
    for reason in dict.fromkeys(told.row.seen for told in by_status["skip"]):
        skipped = (told.row.rule for told in by_status["skip"] if told.row.seen == reason)
        text = "for the same reason" if reason in reasons else reason
        reasons.add(reason)
        yield from _wrapped("  skip  ", f"{ranges(skipped)}: {text}", width, COLOURS["skip"])
    for told in by_status["FAIL"]:
        yield "", {}
        yield from _story(told.story, width) if told.story else _row(told.row, width)


def _row(row: Row, width: int) -> Iterator[Line]:
    head = f"{row.rule} ({row.level})" if row.level else row.rule
    seen = f"{row.seen}, expected {row.expected}" if row.expected else row.seen
    lines = [f"{head}: {row.title}", seen] if row.title else [f"{head}: {seen}"]
    for place, text in enumerate(lines):
        start = f"  {row.status}  " if place == 0 else " " * 8
        yield from _wrapped(start, text, width, COLOURS[row.status])
    if row.status in ("warn", "FAIL"):
        yield from _wrapped(f"{'':8}-> ", row.remedy, width, COLOURS[row.status])


def _story(story: str, width: int) -> Iterator[Line]:
    """The lines of a story, but for a command, which is to be copied, no wider than `width`."""
    head, *fields = story.splitlines()
    yield from _wrapped("", head, width, COLOURS["FAIL"], indent="  ")
    for field in fields:
        name = re.match(r" +\S+ +", field)
        if name is None or name[0].strip() == "again":
            yield field, {}
        else:
            yield from _wrapped(name[0], field[name.end() :], width, {})


def _to_do(failing: Iterable[Told], width: int) -> Iterator[Line]:
    """What mends each failure, once."""
    rules: dict[str, list[str]] = {}
    for told in failing:
        if told.row.remedy:
            rules.setdefault(told.row.remedy, []).append(told.row.rule)
    if rules:
        yield "", {}
        yield "to do:", {"bold": True}
    for remedy, own in rules.items():
        yield from _wrapped("  ", f"{ranges(own)}: {remedy}", width, {}, indent=" " * 4)


def ranges(rules: Iterable[str]) -> str:
    """`COM-1..7, DEP-2`: ids, with those of one kind that follow each other together."""
    numbers: dict[str, list[int]] = {}
    for rule in dict.fromkeys(rules):
        kind, _, number = rule.rpartition("-")
        numbered = bool(kind) and number.isdecimal()
        own = numbers.setdefault(f"{kind}-" if numbered else rule, [])
        own += [int(number)] if numbered else []
    return ", ".join(part for kind, own in numbers.items() for part in _runs(kind, sorted(own)))


def _runs(kind: str, numbers: Sequence[int]) -> Iterator[str]:
    if not numbers:
        yield kind
    first = 0
    for place, number in enumerate(numbers):
        if place + 1 == len(numbers) or numbers[place + 1] != number + 1:
            start = numbers[first]
            yield f"{kind}{start}" + (f"..{number}" if number > start else "")
            first = place + 1


def _wrapped(
    head: str, text: str, width: int, markup: dict[str, bool], indent: str | None = None
) -> Iterator[Line]:
    """`head` and `text`; lines after the first begin with `indent`, by default below `text`."""
    lines = textwrap.wrap(
        text,
        max(width, len(head) + _LEAST),
        initial_indent=head,
        subsequent_indent=" " * len(head) if indent is None else indent,
        break_long_words=False,
        break_on_hyphens=False,
    )
    for line in lines or [head.rstrip()]:
        yield line, markup
