"""Rules of a submission on a device of AI Hub: that it compiles there, how fast it is, and what it
answers. On a local hub no time and no memory is a device's, and none is judged.
"""

import re

from conformance.contract.evidence import Run
from conformance.device.evidence import DeviceEvidence, Latency
from conformance.device.jobs import ORGANISERS, fault_of
from conformance.rulebook import (
    Level,
    Verdict,
    failed,
    has_limit,
    passed,
    rule,
    skipped,
    states_values,
)
from conformance.rules.compiled import (
    SCALE,
    judge_answers,
    judge_finite,
    judge_sense,
    judge_values,
)
from reference.agreement import Nothing, Precision, tolerances

AI_HUB = "AI Hub, for every track: a submission is a compile job that the organisers can pull"
NOT_COMPILED = "not run: a part did not compile (DEV-1)"
NO_PROFILE = "no profile of every part (DEV-3)"
NO_ANSWER = "no answer of the contract's shape and type (DEV-7)"
NOT_MEASURED = "not measured: no real device is behind this hub; run against AI Hub, --hub remote"
# Of repeated profile jobs of one model on one device: differences below are noise.
NOISE = 1.05
_MB = 2**20


@rule(
    "DEV-1",
    Level.REQUIRED,
    needs="device",
    source=AI_HUB,
    remedy="open the job's page for its log; `lpcvc compile` shows offline what the compiler says",
)
def compiles(e: DeviceEvidence) -> Verdict:
    """AI Hub compiles every part for the device with the options of the track."""
    for part, reason in e.compile_failures.items():
        job = f"{part} part, compile job {e.compile_jobs.get(part, 'not accepted')}"
        return _failed_job("a compiled model", reason, job)
    jobs = e.compile_jobs
    if not jobs:
        return skipped("no ONNX graph to compile (COM-13)")
    return passed(", ".join(f"{part}: {job}" for part, job in jobs.items()))


@rule(
    "DEV-2",
    Level.REQUIRED,
    needs="device",
    source="rules page, section 3: models that are not shared are not evaluated",
    remedy=f"compile_job.modify_sharing(add_emails=['{ORGANISERS}'])",
)
def is_shared(e: DeviceEvidence) -> Verdict:
    """The compile jobs are shared with the organisers."""
    if not e.shared:
        return skipped("not asked for: --share shares the compile jobs with the organisers")
    if e.compile_failures:
        return skipped(NOT_COMPILED)
    seen = e.shared_with(ORGANISERS)
    for part, job in e.compile_jobs.items():
        if part not in seen:
            return failed(f"{ORGANISERS} can see it", "it is not shared", f"compile job {job}")
    rehearsed = "rehearsed on a local hub, where nobody is told: " if e.device.emulated else ""
    return passed(f"{rehearsed}{', '.join(seen)} with {ORGANISERS}")


@rule(
    "DEV-3",
    Level.REQUIRED,
    needs="device",
    source=AI_HUB,
    remedy="open the job's page for its log",
)
def profiles(e: DeviceEvidence) -> Verdict:
    """Every part runs on the device to be profiled."""
    if e.compile_failures:
        return skipped(NOT_COMPILED)
    for part, reason in e.profile_failures.items():
        return _failed_job("a profile", reason, f"{part} part")
    if e.latency is None:
        return skipped("no ONNX graph to compile (COM-13)")
    return passed("emulated, no time is a device's" if e.device.emulated else str(e.latency))


@rule(
    "DEV-4",
    Level.REQUIRED,
    shown_by="latency",
    needs="device",
    when=has_limit,
    remedy="`lpcvc compile` shows the operators and traffic that cost most",
)
def within_budget(e: DeviceEvidence) -> Verdict:
    """On a real device the parts together are within the latency of the track.

    For segmentation that is the sample model, measured on the same device in the same run.
    """
    latency = _measured(e)
    if isinstance(latency, Verdict):
        return latency
    if e.track.budget_ms is not None:
        budget, what = e.track.budget_ms, e.track.budget
    elif e.is_reference:
        return passed(f"{latency}; it is the sample itself that others are measured by")
    elif e.baseline is None:
        return skipped("the sample model could not be profiled on this device")
    else:
        budget, what = e.baseline.median, f"the sample on the same device: {e.baseline}"
    if latency.median > budget:
        return failed(f"at most {budget:.4g} ms ({what})", str(latency), e.device.name)
    return passed(f"{latency}, of {budget:.4g} ms")


@rule(
    "DEV-5",
    Level.ADVICE,
    needs="device",
    source="what is published of the track's own model (fixtures/published.tsv)",
    remedy="lower the resolution inside the model, or quantise it",
)
def memory(e: DeviceEvidence) -> Verdict:
    """Peak memory on a real device is no more than is published of the track's own model."""
    if (latency := _measured(e)) and isinstance(latency, Verdict):
        return latency
    if e.memory is None:
        return skipped("AI Hub reports no range of memory")
    seen = f"{e.memory[0] / _MB:.0f} - {e.memory[1] / _MB:.0f} MB"
    if e.published is None or e.published.memory is None:
        return skipped(f"{seen}; nothing is published for {e.device.name} to compare it with")
    highest = e.published.memory[1]
    if e.memory[1] / _MB > highest:
        return failed(f"at most {highest:.0f} MB ({e.published.source})", seen, e.device.name)
    return passed(f"{seen}, of {highest:.0f} MB")


@rule(
    "DEV-6",
    Level.DOCUMENTED,
    needs="device",
    source="a qnn_dlc or qnn_context_binary holds NPU operators only; errata E19",
    remedy="`pytest -m npu` names the nodes that the compiler leaves to the CPU, and why",
)
def all_on_npu(e: DeviceEvidence) -> Verdict:
    """Every layer of the profile runs on the NPU."""
    if e.compile_failures or e.profile_failures:
        return skipped(NO_PROFILE)
    units = e.units
    if not units:
        return skipped("AI Hub lists no layers")
    seen = ", ".join(f"{count} on the {unit}" for unit, count in sorted(units.items()))
    return passed(seen) if set(units) == {"NPU"} else failed("every layer on the NPU", seen)


@rule(
    "DEV-7",
    Level.REQUIRED,
    needs="device",
    remedy="return one float32 tensor of the contract's shape",
)
def answers(e: DeviceEvidence) -> Verdict:
    """The device takes the track's inputs and returns the contract's shape and type."""
    return judge_answers([] if e.compile_failures else e.attempts()) or skipped(NOT_COMPILED)


@rule(
    "DEV-8",
    Level.REQUIRED,
    shown_by="broken",
    when=states_values,
    needs="device",
    source="errata E22",
    remedy="threshold or rescale as the last step, and keep what leads there within float16",
)
def values(e: DeviceEvidence) -> Verdict:
    """On the device a mask is 0 or 1 to one unit in the last place, and depth in [0, 1] to 1e-6.

    So are the values of any other contract that states a range, to 1e-6 of it.
    """
    return judge_values(e.runs()) or skipped(NO_ANSWER)


@rule(
    "DEV-9",
    Level.DOCUMENTED,
    shown_by="broken",
    needs="device",
    source="errata E12",
    remedy="guard divisions: add an epsilon, or select the divisor where it is not 0",
)
def finite(e: DeviceEvidence) -> Verdict:
    """Every answer of the device is finite, to a constant image too."""
    return judge_finite({"the device": e.runs()}) or skipped(NO_ANSWER)


@rule(
    "DEV-10",
    Level.DOCUMENTED,
    shown_by="differences",
    needs="device",
    source="tolerances of the parity suite",
    remedy="`pytest -m parity` finds the node where the NPU parts from the host",
)
def agrees(e: DeviceEvidence) -> Verdict:
    """The device answers as the host does, to the tolerances of its precision."""
    pairs = [(run, own) for run in e.runs("photo", "text") if (own := _on_host(e, run))]
    if not pairs:
        return skipped(f"{NO_ANSWER}, or none of the host")
    precision: Precision = "w8a8" if e.precision == "w8a8" else "float16"
    shown = []
    room = e.track.room("agreement")
    for run, own in pairs:
        measures = room.measure(own.output, run.output, Nothing())
        for held in tolerances(room, precision):
            value = getattr(measures, held.measure)
            bound = f"{held.measure} {'<=' if held.upper else '>='} {held.bound:g} ({precision})"
            if not held.allows(value):
                return failed(bound, f"{held.measure} {value:.4g}", run.where)
            if value is not None:
                shown.append(f"{held.measure} {value:.4g}")
    return passed(", ".join(shown))


@rule(
    "DEV-11",
    Level.ADVICE,
    needs="device",
    source="what is published of the track's own model (fixtures/published.tsv)",
    remedy="profile again: a figure holds for one version of the toolchain (errata E14)",
)
def as_published(e: DeviceEvidence) -> Verdict:
    """On a real device the parts are no slower than what is published of the track's own model."""
    latency = _measured(e)
    if isinstance(latency, Verdict):
        return latency
    known = e.published
    if known is None:
        return skipped(f"{latency}; nothing is published for {e.device.name} in this runtime")
    what = f"{known.milliseconds:g} ms ({known.source}; toolchain {known.toolchain})"
    if latency.median > known.milliseconds * NOISE:
        return failed(f"at most {what}", str(latency), e.device.name)
    return passed(f"{latency}, of {what}")


@rule(
    "DEV-12",
    Level.ADVICE,
    needs="device",
    source="an earlier run of this suite, kept with --save",
    remedy="look for what changed: the model, or the toolchain behind AI Hub",
)
def as_before(e: DeviceEvidence) -> Verdict:
    """On a real device the parts are no slower than in the run before, beyond its spread."""
    latency = _measured(e)
    if isinstance(latency, Verdict):
        return latency
    before = e.previous
    if before is None or before.milliseconds is None or before.spread is None:
        return skipped("no earlier run of this track on this device: --save FILE keeps this one")
    seen = f"{latency}; on {before.date} {before.milliseconds:.4g} ms ({before.submission})"
    limit = max(before.milliseconds * NOISE, before.spread[1])
    if latency.median > limit:
        return failed(f"at most {limit:.4g} ms", seen, e.device.name)
    return passed(seen)


@rule(
    "DEV-13",
    Level.REQUIRED,
    shown_by="differences",
    needs="device",
    source="the metrics: no score can be made of one answer to everything; measured: QAIRT 2.51",
    remedy=SCALE,
)
def makes_sense(e: DeviceEvidence) -> Verdict:
    """What makes sense on the host makes sense on the device.

    No embedding is zero or constant there, no depth flat and no mask empty or full on every
    photograph, and the picture and the text change the answer.
    """
    where = "on the emulated device" if e.device.emulated else "on the device"
    host = e.host.runs() if e.runs() else []
    judged = judge_sense(e.track, where, e.runs(), host, lambda part: "")
    return judged or skipped(NO_ANSWER)


def _measured(e: DeviceEvidence) -> Latency | Verdict:
    """The latency of a real device, or why there is none."""
    if e.device.emulated:
        return skipped(NOT_MEASURED)
    if e.compile_failures or e.profile_failures:
        return skipped(NO_PROFILE)
    return e.latency or skipped(NO_PROFILE)


def _on_host(e: DeviceEvidence, run: Run) -> Run | None:
    own = e.host.runs(run.probe.role, part=run.part.name)
    return next((each for each in own if each.probe.name == run.probe.name), None)


def _failed_job(expected: str, reason: str, where: str) -> Verdict:
    if fault := fault_of(reason):
        raise fault
    return failed(expected, reason, where, _option(reason))


def _option(reason: str) -> str:
    """What helps where a failure asks for an option.

    AI Hub's are written with underscores; the others are limits of a local hub.
    """
    found = re.search(r"--\w+", reason)
    if found is None:
        return ""
    if "_" in found[0]:
        return f"add {found[0]} to the options of that job"
    return f"allow it more with {found[0]}, also of `lpcvc hub serve` where you have started one"
