"""What a rule is, what it answers, and the registry that the `rule` decorator fills."""

import importlib
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from functools import wraps
from typing import Any, Literal

from reference.errors import SubmissionError, ToolError, one_line
from reference.registry import all_tracks
from reference.tracks import SHARED_PREFIXES, Track

# Rules that several tracks have, a module each; a track's own are in the module that it names.
_CONTRACT = ("common", "operators", "behaviour", "contract", "image", "text")
ROOMS = (*_CONTRACT, "npu", "device")

Needs = Literal["graph", "runs", "npu", "device", "package"]
Kind = Literal["any", "torch"]
Outcome = Literal["pass", "fail", "skip"]


class Level(StrEnum):
    """How much a broken rule costs."""

    REQUIRED = "required"
    DOCUMENTED = "documented"
    ADVICE = "advice"


LEVEL_MEANING = {
    Level.REQUIRED: "the organisers' pipeline rejects or mis-scores a submission that breaks it",
    Level.DOCUMENTED: "written down, but the evaluator does not enforce it",
    Level.ADVICE: "a known way to lose score, latency or days",
}


@dataclass(frozen=True)
class Gate:
    """Which broken rules fail a submission, for all that ask; the others warn.

    Required and documented ones do, and advice does not. With `as_evaluated` documented rules warn
    too, which the evaluator does not enforce; with `strict` advice fails too. Raises
    SubmissionError for both.
    """

    as_evaluated: bool = False
    strict: bool = False

    def __post_init__(self) -> None:
        if self.as_evaluated and self.strict:
            raise SubmissionError(
                "--as-evaluated and --strict ask for opposite things", "give one of them"
            )

    def fails(self, level: Level) -> bool:
        """Whether a broken rule of this level fails."""
        match level:
            case Level.REQUIRED:
                return True
            case Level.DOCUMENTED:
                return not self.as_evaluated
            case Level.ADVICE:
                return self.strict


# That a verdict lists; the rest is a number.
MOST_OFFENCES = 6


@dataclass(frozen=True)
class Verdict:
    """What a rule found. `seen` is one line; `where` names the probe and the first offence."""

    outcome: Outcome
    seen: str
    expected: str = ""
    where: str = ""
    remedy: str = ""


def passed(seen: str) -> Verdict:
    """The rule is kept; `seen` says on what evidence."""
    return Verdict("pass", one_line(seen))


def failed(expected: str, seen: str, where: str = "", remedy: str = "") -> Verdict:
    """The rule is broken; a `remedy` drawn from the evidence replaces the rule's own."""
    return Verdict("fail", *map(one_line, (seen, expected, where, remedy)))


def together(offences: Iterable[Verdict]) -> Verdict | None:
    """Everything that breaks one rule as one verdict, None where nothing does.

    So that one round of mending is enough: each offence keeps its place, and each remedy is said.
    """
    found = list(offences)
    if len(found) < 2:
        return found[0] if found else None
    shown = [f"{each.seen} ({each.where})" if each.where else each.seen for each in found]
    more = [f"{len(found) - MOST_OFFENCES} more"] if len(found) > MOST_OFFENCES else []
    return Verdict(
        "fail",
        one_line("; ".join([*dict.fromkeys(shown[:MOST_OFFENCES]), *more])),
        "; ".join(dict.fromkeys(each.expected for each in found if each.expected)),
        remedy="; ".join(dict.fromkeys(each.remedy for each in found if each.remedy)),
    )


def could_not_run(error: SubmissionError, where: str = "") -> Verdict:
    """The rule is broken in that nothing could be seen at all; shown on one line.

    Raises `error` where it is a tool's: the model is not judged by it.
    """
    if isinstance(error, ToolError):
        raise error
    place = f" ({where})" if where else ""
    return Verdict(
        "fail", one_line(f"could not be run: {error.problem}{place}"), remedy=error.remedy
    )


def skipped(reason: str) -> Verdict:
    """The rule could not be checked; `reason` says why and what would enable it."""
    return Verdict("skip", one_line(reason))


# Of an Evidence; of an NpuEvidence or a DeviceEvidence for the rules of an NPU or a device.
Check = Callable[[Any], Verdict]


@dataclass(frozen=True)
class Rule:
    """One rule: its text comes from the docstring of `check`, first paragraph first.

    `needs` is "graph" for what can be read off the file, "runs" for what needs forward passes, and
    "npu" for what Qualcomm's compiler and emulator show; such a check takes an NpuEvidence, and one
    that needs a "device" of AI Hub a DeviceEvidence. One that needs a "package" takes what the room
    of that name gives: a track with that room has such rules alone. `when` says of a track whether
    the rule is for it; an `id` of `*-3` is the third one in the numbering of each. `kind` is
    "torch" where the rule is about submissions that are not ONNX files yet. `fatal` marks a rule
    without which nothing else can be checked, and `blocks` a required one of the graph without
    which no forward pass tells anything. `shown_by` is the kind of the report's section that shows
    what breaks it.
    """

    id: str
    level: Level
    when: Callable[[Track], bool]
    needs: Needs
    kind: Kind
    fatal: bool
    blocks: bool
    source: str
    remedy: str
    check: Check
    shown_by: str = ""

    @property
    def summary(self) -> str:
        """The rule in one sentence."""
        return self.text.split("\n\n")[0]

    @property
    def text(self) -> str:
        """The whole statement, paragraphs unwrapped."""
        paragraphs = re.split(r"\n\s*\n", (self.check.__doc__ or "").strip())
        return "\n\n".join(" ".join(paragraph.split()) for paragraph in paragraphs)

    def source_for(self, track: Track) -> str:
        """Where the rule is written, for one edition of a track."""
        return self.source or "; ".join(track.sources)


_RULES: dict[tuple[str, str], Rule] = {}


def every_track(track: Track) -> bool:
    """For rules that hold whatever the track."""
    return True


def takes_text(track: Track) -> bool:
    """Whether some part of the track takes token ids."""
    return any(part.text for part in track.parts)


def has_limit(track: Track) -> bool:
    """Whether its latency has a limit that a device can be held to."""
    return track.budget_ms is not None or track.budget_is_reference


def states_values(track: Track) -> bool:
    """Whether it says which values an output holds: 0 and 1 alone, or a range."""
    outputs = (part.output for part in track.parts)
    return any(output.kind == "binary" or output.values is not None for output in outputs)


def rule(
    id: str,
    level: Level,
    *,
    remedy: str,
    source: str = "",
    when: Callable[[Track], bool] = every_track,
    needs: Needs = "runs",
    kind: Kind = "any",
    fatal: bool = False,
    blocks: bool = True,
    of_onnx: bool = False,
    shown_by: str = "",
) -> Callable[[Check], Check]:
    """Enters a check into the rulebook, for the tracks whose own module of rules it stands in, or
    from one of `ROOMS` for all tracks of which `when` holds.

    An `id` such as `*-3` is the same rule in every track's own numbering (`SEG-3`, `DEP-3`, ...).
    Without a `source`, the documents of the track itself are the source. One `of_onnx` reads the
    operators or weights of ONNX, and is skipped where a part is a file of another form.
    """

    def register(check: Check) -> Check:
        key = (check.__module__, id)
        if key in _RULES:
            raise ValueError(f"two rules are called {id}")
        kept = _skips_others(check) if of_onnx else check
        _RULES[key] = Rule(
            id, level, when, needs, kind, fatal, blocks, source, remedy, kept, shown_by
        )
        return check

    return register


def _skips_others(check: Check) -> Check:
    @wraps(check)
    def checked(e: Any) -> Verdict:
        others = [graph.path.name for _, graph in e.each_graph() if graph.form != "onnx"]
        if others:
            return skipped(f"{others[0]} is TFLite, and this reads ONNX: hold its source to it too")
        return check(e)

    return checked


def all_rules() -> dict[str, Rule]:
    """Every rule by id, in the order of the table: common first, then track by track."""
    found = {rule.id: rule for track in all_tracks().values() for rule in rules_of(track)}
    first, *rest = SHARED_PREFIXES
    rooms = [first, *(track.prefix for track in all_tracks().values()), *rest]
    return dict(sorted(found.items(), key=lambda entry: _place(entry[0], rooms)))


def rules_of(track: Track, rooms: Sequence[str] = ROOMS) -> list[Rule]:
    """Every rule for a submission to `track`, its own and those of `rooms`, as they are written;
    other rooms, and what their rules look at, are not imported.
    """
    modules = [f"{__package__}.rules.{room}" for room in rooms]
    modules += [track.rules] if track.rules else []
    packaged = track.has("package")
    for module in modules:
        importlib.import_module(module)
    found = [
        replace(rule, id=rule.id.replace("*", track.prefix))
        for (module, _), rule in _RULES.items()
        if module in modules and (rule.needs == "package") is packaged and rule.when(track)
    ]
    first, *rest = SHARED_PREFIXES
    prefixes = [first, track.prefix, *rest]
    return sorted(found, key=lambda rule: _place(rule.id, prefixes))


def tracks_of(rule: Rule) -> list[Track]:
    """The tracks that the rule is for, all editions."""
    return [track for track in all_tracks().values() if rule in rules_of(track)]


def rules_for(track: Track, *, torch: bool = False) -> list[Rule]:
    """The rules of the contract for a submission to `track`, without a forward pass first."""
    kinds = {"any", "torch"} if torch else {"any"}
    own = rules_of(track, _CONTRACT)
    chosen = [r for r in own if r.needs in ("graph", "runs", "package") and r.kind in kinds]
    return sorted(chosen, key=lambda r: (not r.fatal, r.needs != "graph"))


def npu_rules_for(track: Track) -> list[Rule]:
    """The rules for a submission to `track` on the NPU of a device."""
    return [r for r in rules_of(track, ("npu",)) if r.needs == "npu"]


def device_rules_for(track: Track) -> list[Rule]:
    """The rules for a submission to `track` on a device of AI Hub."""
    return [r for r in rules_of(track, ("device",)) if r.needs == "device"]


def _place(id: str, prefixes: Sequence[str]) -> tuple[int, int]:
    """Where a rule stands in the table; what is called otherwise comes last."""
    prefix, _, number = id.rpartition("-")
    place = prefixes.index(prefix) if prefix in prefixes else len(prefixes)
    return place, int(number)
