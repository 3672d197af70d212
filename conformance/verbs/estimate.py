"""Estimate the latency on a device, offline."""

import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click
import numpy as np
import onnx

from conformance.device.history import Saved, read_saved
from conformance.outputs import made_room
from conformance.report.estimate import Change, PartEstimate, estimate_report
from conformance.report.progress import stderr_progress
from conformance.runtimes.npu import is_tflite, no_schedule
from conformance.subject import Progress, ticking
from conformance.verbs import PATH, Found, for_devices, in_json, limited
from conformance.verbs._models import answers, files_by_part
from reference.cache import file_digest
from reference.closest import unknown
from reference.errors import SubmissionError
from reference.npu.anchors import Anchor, read_anchors
from reference.npu.budget import add_up, judge
from reference.npu.calibration import RUNTIMES
from reference.npu.devices import Device, find_device
from reference.npu.fold import find_normalisation, fold_normalisation
from reference.npu.latency import Estimate, estimate_on
from reference.npu.layout import save_model
from reference.npu.simulation import Simulation, simulate, simulate_anchors
from reference.process import Limits
from reference.tracks import Track

FOLD, NCHW, REWRITE = "fold-normalisation", "nchw", "rewrite"
WHAT_IFS = (FOLD, NCHW, REWRITE)

_RUNTIME = "qnn_context_binary"  # where no track says another
_ROUNDING = 1e-3  # of the largest output: what folding may change on the host


@dataclass(frozen=True)
class Question:
    """What is asked: for which devices and runtime, with which anchors and which `WHAT_IFS`.

    `measured` are the results of device runs, those of this model and of others.
    """

    devices: Sequence[Device]
    runtime: str
    anchors: Sequence[Anchor] = ()
    what_ifs: Sequence[str] = ()
    measured: Sequence[Saved] = ()

    def anchors_of(self, model: Path) -> list[Anchor]:
        """The anchors given, and what devices measured of this very file."""
        own = file_digest(model) if self.measured else ""
        found = []
        for run in self.measured:
            for figures in run.parts.values():
                if figures.sha256 != own or figures.milliseconds is None:
                    continue
                runtime = run.runtime if run.runtime in RUNTIMES else None
                device = find_device(run.device)
                found.append(Anchor(model, device, figures.milliseconds, runtime))
        return [*self.anchors, *found]


@click.command()
@for_devices
@click.option(
    "--runtime",
    type=click.Choice(list(RUNTIMES)),
    help=f"Default: the track's; without a track {_RUNTIME}.",
)
@click.option(
    "--what-if",
    "what_ifs",
    multiple=True,
    metavar="CHANGE",
    help=f"Simulate a change too: {', '.join(WHAT_IFS)}; repeatable.",
)
@click.option(
    "--anchors", type=PATH, metavar="FILE", help="JSON list of model, device, ms you measured."
)
@click.option(
    "--measured",
    type=PATH,
    metavar="FILE",
    help="What `pytest -m device --save FILE` kept of this model on other devices.",
)
@click.option("--plot", type=PATH, metavar="FILE.png", help="Draw the estimates.")
@click.option("--why", is_flag=True, help="Say what takes the time.")
@limited("one simulation")
@in_json
def command(
    models: Sequence[str],
    track: Track | None,
    devices: Sequence[Device],
    runtime: str | None,
    what_ifs: Sequence[str],
    anchors: Path | None,
    measured: Path | None,
    plot: Path | None,
    why: bool,
    limits: Limits,
) -> Found:
    """Estimate how many milliseconds each MODEL takes on each device, offline. Exit code 1: there
    is no estimate at all.

    A MODEL is what the suite takes for --submission; with --track alone it is the track's reference
    with random weights. Without --track it is any ONNX file, --device or --all-devices says what it
    is for, and there is no budget.
    """
    question = Question(
        devices,
        runtime or (track.runtime if track else _RUNTIME),
        read_anchors(anchors) if anchors else (),
        tuple(dict.fromkeys(what_ifs)),
        read_saved(measured, must_exist=True) if measured else (),
    )
    for name in question.what_ifs:
        if name not in WHAT_IFS:
            raise unknown(f"no change {name!r}", name, WHAT_IFS)
    if plot is not None:
        made_room(plot)
    with tempfile.TemporaryDirectory(prefix="lpcvc-") as scratch, stderr_progress() as progress:
        files = files_by_part(track, models, Path(scratch), limits, progress)
        parts = [
            _estimate(part, model, question, Path(scratch), limits, progress)
            for part, model in files.items()
        ]
    budget = track.budget_ms if track else None
    if plot is not None:
        from conformance.report.estimate_plot import plot_estimates

        plot_estimates(parts, budget, plot)
    subject = track.id if track else " ".join(path.name for path in files.values())
    label = f"{subject}, {question.runtime}" + ("" if models else ", random weights")
    note = ""
    if track and budget is None:
        note = f"the limit of the track is not in milliseconds: {track.budget}"
    text = estimate_report(label, parts, budget=budget, note=note, why=why)
    known = any(e.milliseconds is not None for part in parts for e in part.estimates)
    document = {
        "track": track.id if track else None,
        "runtime": question.runtime,
        "budget_ms": budget,
        "parts": [_values(part) for part in parts],
        "together": [
            _sum(device, [part.estimates[place] for part in parts], budget)
            for place, device in enumerate(devices)
        ],
    }
    return text, 0 if known else 1, document


def _values(part: PartEstimate) -> dict[str, Any]:
    """The estimates of a part, and of each change of it."""
    changes = [
        {"name": c.name, "note": c.note, "estimates": [_guess(each) for each in c.estimates]}
        for c in part.changes
    ]
    estimates = [_guess(each) for each in part.estimates]
    return {"part": part.part, "estimates": estimates, "changes": changes}


def _guess(found: Estimate) -> dict[str, Any]:
    numbers = {"estimate_ms": found.milliseconds, "low_ms": found.low, "high_ms": found.high}
    words = ("confidence", "reasons", "remedy", "notes", "anchor")
    versions = ("calibration", "figures", "toolchain")
    return {
        "device": found.device.name,
        **numbers,
        **{name: getattr(found, name) for name in (*words, *versions)},
    }


def _sum(device: Device, own: Sequence[Estimate], budget: float | None) -> dict[str, Any]:
    """All parts on a device, one after the other, beside the budget."""
    ms, low, high = add_up(own) or (None, None, None)
    said = "-" if low is None or high is None else judge(low, high, budget)
    return {
        "device": device.name,
        "estimate_ms": ms,
        "low_ms": low,
        "high_ms": high,
        "verdict": None if said == "-" else said,
    }


def _estimate(
    part: str, model: Path, question: Question, scratch: Path, limits: Limits, progress: Progress
) -> PartEstimate:
    runtime = question.runtime
    if is_tflite(model):
        raise no_schedule(model)
    tick = ticking(progress, f"simulating the anchors of {model.name}")
    known = simulate_anchors(question.anchors_of(model), runtime, limits=limits, tick=tick)
    tick = ticking(progress, f"simulating {model.name}")
    simulation = simulate(model, runtime, limits=limits, tick=tick)
    estimates = [estimate_on(simulation, device, known) for device in question.devices]
    changes = []
    for name in question.what_ifs:
        if name == REWRITE:
            tick = ticking(progress, f"simulating {model.name} as it is written")
            written = simulate(model, runtime, as_written=True, limits=limits, tick=tick)
            guesses = [estimate_on(written, device, known) for device in question.devices]
            note = "; ".join(simulation.rewritten) or "nothing to rewrite"
            changes.append(Change(name, note, simulation, estimates, (written, guesses)))
            continue
        folder = scratch / f"{part}-{name}"
        after, note = _changed(name, model, runtime, folder, limits, progress)
        guesses = [estimate_on(after, device, known) for device in question.devices]
        changes.append(Change(name, note, after, guesses))
    nodes = find_normalisation(onnx.load(model)) if simulation.compiled else ()
    return PartEstimate(part, simulation, estimates, changes, nodes)


def _changed(
    name: str, model: Path, runtime: str, folder: Path, limits: Limits, progress: Progress
) -> tuple[Simulation, str]:
    """The simulation of the changed model and how it was changed; what cannot be is told."""
    tick = ticking(progress, f"simulating {model.name} with {name}")
    if name == NCHW:
        return simulate(model, "onnx", limits=limits, tick=tick), "images as exported"
    try:
        path, note = _folded(model, folder, limits, progress)
        return simulate(path, runtime, limits=limits, tick=tick), note
    except SubmissionError as error:
        failed = Simulation(model, "", runtime, None, error.problem, error.remedy)
        return failed, "cannot be done"


def _folded(model: Path, folder: Path, limits: Limits, progress: Progress) -> tuple[Path, str]:
    """The model without its normalisation, and how close its answers are on the host."""
    changed = onnx.load(model)
    fold = fold_normalisation(changed)
    folder.mkdir()
    path = save_model(changed, folder / model.name)
    tick = ticking(progress, f"comparing {model.name} with its folded form")
    feeds = _feeds(changed)
    before, after = (answers(file, feeds, folder, limits, tick) for file in (model, path))
    largest = max(float(np.abs(output).max()) for output in before)
    off = max(float(np.abs(a - b).max()) for a, b in zip(before, after, strict=True))
    if not off <= _ROUNDING * largest:
        raise SubmissionError(
            f"the folded {model.name} differs by {off:.2g} of {largest:.2g} on the host",
            "fold the normalisation by hand, and compare the outputs",
        )
    how = "with a channel of ones for the padding" if fold.ones else "without padding to mind"
    note = f"{', '.join(fold.nodes)} folded, {how}; outputs differ by {off:.1g} of {largest:.2g}"
    return path, note


def _feeds(model: onnx.ModelProto) -> dict[str, np.ndarray]:
    """Inputs of the model's shapes, the same at each call: images in [0, 1), ids of 1."""
    rng = np.random.default_rng(0)
    weights = {tensor.name for tensor in model.graph.initializer}
    feeds = {}
    for value in model.graph.input:
        if value.name in weights:
            continue
        kind = value.type.tensor_type
        dtype = onnx.helper.tensor_dtype_to_np_dtype(kind.elem_type)
        shape = [dim.dim_value for dim in kind.shape.dim]
        floating = np.issubdtype(dtype, np.floating)
        feeds[value.name] = (rng.random(shape) if floating else np.ones(shape)).astype(dtype)
    return feeds
