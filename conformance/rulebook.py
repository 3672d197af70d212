"""What a rule is, what it answers, and the registry that the `rule` decorator fills."""

import importlib
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Literal

from reference.errors import SubmissionError, ToolError, one_line
from reference.tracks import DEFAULTS, Track

PREFIXES = {"segmentation": "SEG", "retrieval": "RET", "depth": "DEP", "pidnet": "PID"}

Needs = Literal["graph", "runs", "npu", "device"]
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
    that needs a "device" of AI Hub a DeviceEvidence.
    `kind` is "torch" where the rule is about submissions that are not ONNX files yet. `fatal` marks
    a rule without which nothing else can be checked, and `blocks` a required one of the graph
    without which no forward pass tells anything.
    """

    id: str
    level: Level
    tracks: tuple[str, ...]
    needs: Needs
    kind: Kind
    fatal: bool
    blocks: bool
    source: str
    remedy: str
    check: Check

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


_RULES: dict[str, Rule] = {}


def rule(
    id: str,
    level: Level,
    *,
    remedy: str,
    source: str = "",
    tracks: tuple[str, ...] = tuple(PREFIXES),
    needs: Needs = "runs",
    kind: Kind = "any",
    fatal: bool = False,
    blocks: bool = True,
) -> Callable[[Check], Check]:
    """Enters a check into the rulebook.

    An `id` such as `*-3` is the same rule in every track's own numbering (`SEG-3`, `DEP-3`, ...).
    Without a `source`, the documents of the track itself are the source.
    """

    def register(check: Check) -> Check:
        entries = (
            [(id.replace("*", PREFIXES[track]), (track,)) for track in tracks]
            if id.startswith("*")
            else [(id, tracks)]
        )
        for entry_id, entry_tracks in entries:
            if entry_id in _RULES:
                raise ValueError(f"two rules are called {entry_id}")
            _RULES[entry_id] = Rule(
                entry_id, level, entry_tracks, needs, kind, fatal, blocks, source, remedy, check
            )
        return check

    return register


def all_rules() -> dict[str, Rule]:
    """Every rule by id, in the order of the table: common first, then track by track."""
    for room in ("common", "operators", "behaviour", "image", "text", "npu", "device", *DEFAULTS):
        importlib.import_module(f"conformance.rules.{room}")
    return {id: _RULES[id] for id in sorted(_RULES, key=_order)}


def rules_for(track: Track, *, torch: bool = False) -> list[Rule]:
    """The rules of the contract for a submission to `track`, without a forward pass first."""
    kinds = {"any", "torch"} if torch else {"any"}
    chosen = [r for r in _rules_of(track) if r.needs in ("graph", "runs") and r.kind in kinds]
    return sorted(chosen, key=lambda r: (not r.fatal, r.needs != "graph"))


def npu_rules_for(track: Track) -> list[Rule]:
    """The rules for a submission to `track` on the NPU of a device."""
    return [r for r in _rules_of(track) if r.needs == "npu"]


def device_rules_for(track: Track) -> list[Rule]:
    """The rules for a submission to `track` on a device of AI Hub."""
    return [r for r in _rules_of(track) if r.needs == "device"]


def _rules_of(track: Track) -> list[Rule]:
    return [r for r in all_rules().values() if track.name in r.tracks]


def _order(rule_id: str) -> tuple[int, int]:
    prefix, _, number = rule_id.partition("-")
    rooms = ["COM", *PREFIXES.values(), "IMG", "TXT", "NPU", "DEV"]
    return rooms.index(prefix), int(number)
