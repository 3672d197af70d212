"""A report as values: what was held to what, what was seen, and the evidence shown beside it."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal

from conformance.report.terminal import Row
from conformance.rulebook import all_rules
from reference.pictures import Legend, Scale
from reference.registry import known_track

SCHEMA = 1
NOT_MEASURED = "not measured"
# Of all pictures of a report, so that a page can be mailed and a browser opens it at once.
MOST_PICTURE_BYTES = 1_900_000

Verdict = Literal["passing", "failing", "warnings", "incomplete"]
STATUSES = ("fail", "warn", "pass", "skip")


@dataclass(frozen=True)
class Table:
    """Cells of text; the first column names the row. `right` are the columns of numbers."""

    caption: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    right: tuple[int, ...] = ()


@dataclass(frozen=True)
class Chart:
    """Values to be drawn as horizontal `bars`.

    `marked` is the index of the value that stands out. `spans` are the intervals of the values, if
    they have any, `limit` what they are held to, in `unit` as well, and `top` the most that there
    can be, where there is one. NaN is a value that there is not.
    """

    kind: Literal["bars"]
    caption: str
    alt: str
    labels: tuple[str, ...]
    values: tuple[float, ...]
    unit: str
    marked: int | None = None
    spans: tuple[tuple[float, float], ...] = ()
    limit: float | None = None
    top: float | None = None


@dataclass(frozen=True)
class Figure:
    """One picture (JPEG). `alt` says what it shows; `legend` are colours in CSS with their names.

    A `chart` stands beside it.
    """

    caption: str
    alt: str
    image: bytes = field(repr=False)
    size: tuple[int, int]
    scale: Scale | None = None
    legend: Legend = ()
    chart: Chart | None = None


@dataclass(frozen=True)
class Section:
    """Evidence of one kind for one subject. `notes` say what the reader must know of it."""

    kind: str
    title: str
    subject: str
    notes: tuple[str, ...] = ()
    tables: tuple[Table, ...] = ()
    figures: tuple[Figure, ...] = ()
    charts: tuple[Chart, ...] = ()

    @property
    def weight(self) -> int:
        """How much it shows: of two processes that looked at the same, one has seen more."""
        return len(self.figures) + len(self.charts) + sum(len(table.rows) for table in self.tables)


@dataclass(frozen=True)
class Subject:
    """A submission held to one track, perhaps on a device, with its rules in order."""

    label: str
    rules: tuple[Row, ...]

    @property
    def track(self) -> str:
        """The id of the track."""
        return self.rules[0].track

    @property
    def title(self) -> str:
        """The track in words."""
        known = known_track(self.track)
        return known.title if known else self.track

    @property
    def edition(self) -> str:
        """The track's edition, empty where it has none."""
        known = known_track(self.track)
        return known.edition if known else ""

    @property
    def worst_first(self) -> list[Row]:
        """The rules by status, and in order where that is the same."""
        return sorted(self.rules, key=lambda rule: STATUSES.index(rule.status.lower()))

    @property
    def unbroken(self) -> list[Row]:
        """The rules that are kept, then those that were not checked."""
        return [rule for rule in self.worst_first if rule.status in ("pass", "skip")]

    @property
    def counts(self) -> dict[str, int]:
        """How many rules have each status, worst first."""
        return count(self.rules)

    @property
    def verdict(self) -> Verdict:
        """The word for all of its rules."""
        return verdict_of(self.counts)


@dataclass(frozen=True)
class Other:
    """An item of the run that is about no rule of a submission, such as one of the tokenizer;
    `name` is what it is about, in words.
    """

    id: str
    status: str
    seen: str
    name: str = ""


@dataclass(frozen=True)
class Finding:
    """A broken rule of the subject at `place`, and the section that shows it, if one does.

    The section stands with the `first` of those that it shows.
    """

    place: int
    rule: Row
    section: Section | None
    first: bool


@dataclass(frozen=True)
class Report:
    """One run. `ended` says why it ended early, empty where it did not; `command` repeats it.

    `stories` is what the terminal tells of each failure, by subject and rule.
    """

    generator: str
    created: str
    command: str
    ended: str
    subjects: tuple[Subject, ...]
    others: tuple[Other, ...]
    sections: tuple[Section, ...]
    environment: dict[str, str]
    stories: dict[tuple[str, str], str] = field(default_factory=dict)

    @property
    def rules(self) -> tuple[Row, ...]:
        """The rules of all subjects."""
        return tuple(rule for subject in self.subjects for rule in subject.rules)

    @property
    def findings(self) -> tuple[Finding, ...]:
        """What is broken, failures before advice."""
        known = {(section.subject, section.kind): section for section in self.sections}
        found: list[Finding] = []
        for status in ("FAIL", "warn"):
            for place, subject in enumerate(self.subjects, 1):
                for rule in subject.rules:
                    if rule.status == status:
                        section = known.get((rule.subject, rule.shown_by))
                        first = all(each.section is not section for each in found)
                        found.append(Finding(place, rule, section, first))
        return tuple(found)

    @property
    def skips(self) -> dict[str, list[Row]]:
        """The rules that were not checked, by the reason."""
        found: dict[str, list[Row]] = {}
        for rule in self.rules:
            if rule.status == "skip":
                found.setdefault(rule.seen, []).append(rule)
        return found

    @property
    def counts(self) -> dict[str, int]:
        """How many rules have each status, worst first."""
        return count(self.rules)

    @property
    def verdict(self) -> Verdict:
        """The word for the whole run; one that ended early is never passing."""
        if any(other.status == "fail" for other in self.others):
            return "failing"
        found = verdict_of(self.counts)
        return "incomplete" if self.ended and found != "failing" else found

    @property
    def sentence(self) -> str:
        """The verdict as a sentence."""
        found = self.counts
        broken = found["fail"] + sum(other.status == "fail" for other in self.others)
        checked = sum(found.values()) - found["skip"]
        match self.verdict:
            case "failing":
                return f"{plural(broken, 'check')} failed; {found['pass']} passed."
            case "incomplete" if self.ended:
                return f"The run ended early ({self.ended}): {plural(checked, 'rule')} checked."
            case "incomplete":
                return "Nothing was checked."
            case "warnings":
                return f"Nothing fails the gate: {found['warn']} warned, {found['pass']} passed."
            case _:
                return f"{plural(checked, 'rule')} checked, all passed."


def count(rules: Iterable[Row]) -> dict[str, int]:
    """How many rules have each status, worst first."""
    found = [rule.status.lower() for rule in rules]
    return {status: found.count(status) for status in STATUSES}


def verdict_of(counts: dict[str, int]) -> Verdict:
    """The word for so many rules of each status; where all are skipped nothing is known."""
    if counts["fail"]:
        return "failing"
    if counts["warn"]:
        return "warnings"
    return "passing" if counts["pass"] else "incomplete"


def subjects_of(rows: Iterable[Row]) -> tuple[Subject, ...]:
    """Rows by their subject as these came, in the order of the rulebook: that of a run varies."""
    order = {id: place for place, id in enumerate(all_rules())}
    own: dict[str, list[Row]] = {}
    for row in sorted(rows, key=lambda row: order.get(row.rule, len(order))):
        own.setdefault(row.subject, []).append(row)
    return tuple(Subject(label, tuple(rules)) for label, rules in own.items())


def statement(row: Row) -> str:
    """The rule of a row in a sentence, empty where the rulebook has none of that id."""
    rule = all_rules().get(row.rule)
    return rule.summary if rule else ""


def merged(sections: Iterable[Section]) -> tuple[Section, ...]:
    """Sections of several processes: of those of one kind and subject, the one that shows most.

    Pictures beyond MOST_PICTURE_BYTES are left out, and a note says so.
    """
    best: dict[tuple[str, str], Section] = {}
    for section in sections:
        key = section.kind, section.subject
        if key not in best or section.weight > best[key].weight:
            best[key] = section
    room = MOST_PICTURE_BYTES
    fitting = []
    for section in best.values():
        kept, room = _within(section.figures, room)
        left = len(section.figures) - len(kept)
        note = (f"{plural(left, 'picture')} left out: the page would grow too large",)
        notes = section.notes + (note if left else ())
        fitting.append(replace(section, figures=kept, notes=notes))
    return tuple(fitting)


def _within(figures: Sequence[Figure], room: int) -> tuple[tuple[Figure, ...], int]:
    kept = []
    for figure in figures:
        if len(figure.image) <= room:
            kept.append(figure)
            room -= len(figure.image)
    return tuple(kept), room


def plural(number: int, noun: str) -> str:
    """`1 rule`, `2 rules`."""
    return f"{number} {noun}{'' if number == 1 else 's'}"
