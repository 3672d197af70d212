"""What there is to record of one submission, in groups that are gathered together."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from conformance.assessment import BaseAssessment
from conformance.contract.assessment import Assessment
from conformance.contract.evidence import Run
from conformance.device.history import last_measured, read_saved
from conformance.npu.assessment import NpuAssessment
from conformance.parity.comparison import Comparison
from conformance.regression.entries import Answer, Better, Entry, Nodes, Number, short
from conformance.regression.fingerprint import summarise
from conformance.runtimes.npu import Made
from conformance.scoring.kept import read_scores
from conformance.wing import NotCompared
from reference.agreement import tolerances
from reference.errors import SubmissionError
from reference.npu.toolchain import find_toolchain
from reference.tracks import Part

_MEGABYTE = 1e6
_INFINITE = 1e30  # JSON has no infinity: the PSNR of equal answers


@dataclass(frozen=True)
class Group:
    """Entries whose keys begin with `prefix`.

    `gather` may raise NotCompared where there is nothing to record, and SubmissionError.
    """

    prefix: str
    assessment: BaseAssessment
    gather: Callable[[], dict[str, Entry]]

    @property
    def name(self) -> str:
        """`rules`, `outputs/model`."""
        return self.prefix.removesuffix("/")


def contract_groups(own: Assessment) -> list[Group]:
    """The rules of the contract, and each part's answers to the probes."""

    def answers(part: Part) -> list[Run]:
        runs = own.evidence.attempts(part=part.name)
        if part.name in own.evidence.unrunnable:
            step, error = own.evidence.unrunnable[part.name]
            raise SubmissionError(f"{error.problem} ({step})", error.remedy)
        return runs

    return [
        _rules("rules/", own),
        *(
            _outputs(f"outputs/{part.name}/", own, partial(answers, part))
            for part in own.track.parts
        ),
    ]


def compiled_groups(own: NpuAssessment, device: str) -> list[Group]:
    """What the compiler makes of each part for a device."""

    def gather(prefix: str, part: Part) -> dict[str, Entry]:
        _need_toolchain()
        made = own.evidence.compiled.get(part.name)
        if made is None:
            raise NotCompared("no ONNX graph to compile (COM-13)")
        if isinstance(made, SubmissionError):
            raise made
        return {f"{prefix}{name}": entry for name, entry in compiled_entries(made).items()}

    return [
        Group(prefix, own, partial(gather, prefix, part))
        for part in own.track.parts
        for prefix in [f"compiled/{device}/{part.name}/"]
    ]


def npu_groups(own: NpuAssessment, device: str) -> list[Group]:
    """The rules of the NPU, and each part's emulated answers."""

    def answers(part: Part) -> list[Run]:
        _need_toolchain()
        return [run for run in own.evidence.attempts() if run.part.name == part.name]

    return [
        _rules(f"npu rules/{device}/", own, before=_need_toolchain),
        *(
            _outputs(f"npu outputs/{device}/{part.name}/", own, partial(answers, part))
            for part in own.track.parts
        ),
    ]


def parity_groups(comparison: Comparison) -> list[Group]:
    """How far the emulated NPU is from the host, by part."""

    def gather(prefix: str, part: Part) -> dict[str, Entry]:
        agreement = comparison.agreement(part, ("onnx", "npu"))
        entries: dict[str, Entry] = {}
        room = comparison.assessment.track.room("agreement")
        for held in tolerances(room, agreement.precision):
            value = getattr(agreement.measures, held.measure)
            if value is not None and not math.isnan(value):
                figure = short(min(value, _INFINITE))
                better: Better = "lower" if held.upper else "higher"
                entries[f"{prefix}{held.measure}"] = Number(figure, "", better)
        return entries

    return [
        Group(prefix, comparison.assessment, partial(gather, prefix, part))
        for part in comparison.assessment.track.parts
        for prefix in [f"parity/{comparison.device.name}/{part.name}/"]
    ]


def latency_group(own: Assessment, submission: str, results: Path) -> Group:
    """The latest latency that each device measured of the submission, with the target runtime."""

    def gather() -> dict[str, Entry]:
        runs = [run for run in read_saved(results) if run.submission == submission]
        entries: dict[str, Entry] = {}
        for run in runs:
            latest = last_measured(runs, own.track.id, run.device, run.runtime)
            if latest is not None and latest.milliseconds is not None:
                entries[f"latency/{run.device}/{run.runtime}"] = Number(
                    latest.milliseconds, "ms, measured", "lower", latest.spread
                )
        if not entries:
            raise NotCompared(f"{results.name} has no latency that a device measured of it")
        return entries

    return Group("latency/", own, gather)


def score_group(own: Assessment, submission: str, scores: Path) -> Group:
    """The scores that `lpcvc score` kept of the submission, by runtime and data set."""

    def gather() -> dict[str, Entry]:
        entries: dict[str, Entry] = {
            f"scores/{score.runtime}/{score.data}": Number(
                short(score.value), score.metric, "higher", score.interval
            )
            for score in read_scores(scores)
            if (score.track, score.submission) == (own.track.id, submission)
        }
        if not entries:
            raise NotCompared(f"{scores.name} has no score of it")
        return entries

    return Group("scores/", own, gather)


def compiled_entries(compiled: Made) -> dict[str, Entry]:
    """What the compiler made of one part, by name."""
    if compiled.failure:
        return {"compiles": Answer("fail", compiled.failure)}
    placement = compiled.placement
    entries: dict[str, Entry] = {
        "compiles": Answer("pass"),
        "CPU nodes": Nodes(
            {
                node.name or f"unnamed, {count}": (node.op, node.reason)
                for count, node in enumerate(placement.cpu, 1)
            }
        ),
        "operators": Number(placement.npu_ops, "NPU operators"),
        "binary": _megabytes(compiled.binary.stat().st_size),
    }
    if compiled.traffic is not None:
        entries["DDR read"] = _megabytes(compiled.traffic.read)
        entries["DDR written"] = _megabytes(compiled.traffic.written)
    if compiled.simulated is not None:
        entries["simulated"] = Number(short(compiled.simulated.ms), "ms, simulated", "lower")
    return entries


def _rules(prefix: str, own: BaseAssessment, before: Callable[[], None] = lambda: None) -> Group:
    def gather() -> dict[str, Entry]:
        before()
        entries: dict[str, Entry] = {}
        for rule in own.rules:
            verdict = own.verdict(rule)
            seen = "" if verdict.outcome == "pass" else verdict.seen
            entries[f"{prefix}{rule.id}"] = Answer(verdict.outcome, seen)
        return entries

    return Group(prefix, own, gather)


def _outputs(prefix: str, own: BaseAssessment, answers: Callable[[], list[Run]]) -> Group:
    """Without the probe that is fed twice, and those that raised."""

    def gather() -> dict[str, Entry]:
        return {
            f"{prefix}{run.probe.name}": summarise(run.output)
            for run in answers()
            if not run.error and run.probe.role != "repeat"
        }

    return Group(prefix, own, gather)


def _megabytes(size: int) -> Number:
    return Number(short(size / _MEGABYTE), "MB", "lower")


def _need_toolchain() -> None:
    try:
        find_toolchain()
    except SubmissionError as error:
        raise NotCompared(str(error)) from None
