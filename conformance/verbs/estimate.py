"""`lpcvc estimate`: how fast a submission would be, and what takes the time, without a device."""

import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx

from conformance.device.history import Saved
from conformance.report.estimate import Change, PartEstimate, estimate_report
from conformance.runtimes.process import ModelProcess
from conformance.submission.opening import Model
from conformance.verbs.compile import Steps, onnx_files
from reference.errors import SubmissionError
from reference.npu.anchors import Anchor
from reference.npu.cache import file_digest
from reference.npu.calibration import RUNTIMES
from reference.npu.devices import Device, find_device
from reference.npu.fold import find_normalisation, fold_normalisation
from reference.npu.latency import estimate_on
from reference.npu.layout import save_model
from reference.npu.simulation import Simulation, simulate, simulate_anchors
from reference.process import ChildError, Limits
from reference.tracks import Part, Track

FOLD, NCHW = "fold-normalisation", "nchw"
WHAT_IFS = (FOLD, NCHW)

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

    def anchors_of(self, part: str, model: Path) -> list[Anchor]:
        """The anchors given, and what devices measured of this very file."""
        own = file_digest(model) if self.measured else ""
        found = []
        for run in self.measured:
            figures = run.parts.get(part)
            if figures and figures.sha256 == own and figures.milliseconds is not None:
                runtime = run.runtime if run.runtime in RUNTIMES else None
                device = find_device(run.device)
                found.append(Anchor(model, device, figures.milliseconds, runtime))
        return [*self.anchors, *found]


def estimate_parts(
    track: Track,
    specs: Sequence[str],
    question: Question,
    *,
    limits: Limits,
    why: bool = False,
    plot: Path | None = None,
) -> tuple[str, int]:
    """The report on each part of a submission, and 1 where there is no estimate at all.

    `specs` are `PATH` or `PART=PATH` as for a submission; without any it is the track's reference
    with random weights. Raises SubmissionError for what cannot be opened.
    """
    for name in question.what_ifs:
        if name not in WHAT_IFS:
            raise SubmissionError(f"no change {name!r}", f"choose one of: {', '.join(WHAT_IFS)}")
    with tempfile.TemporaryDirectory(prefix="lpcvc-") as scratch, Steps() as steps:
        models = onnx_files(track, specs, Path(scratch), limits, steps)
        parts = [
            _estimate(track.part(part), model, question, Path(scratch), limits, steps)
            for part, model in models.items()
        ]
    label = f"{track.id}, {question.runtime}" + ("" if specs else ", random weights")
    if plot is not None:
        from conformance.report.estimate_plot import plot_estimates

        plot_estimates(parts, track.budget_ms, plot)
    text = estimate_report(label, track, parts, why=why)
    known = any(e.milliseconds is not None for part in parts for e in part.estimates)
    return text, 0 if known else 1


def _estimate(
    part: Part, model: Path, question: Question, scratch: Path, limits: Limits, steps: Steps
) -> PartEstimate:
    runtime = question.runtime
    steps.step = f"simulating the anchors of {model.name}"
    known = simulate_anchors(
        question.anchors_of(part.name, model), runtime, limits=limits, tick=steps
    )
    steps.step = f"simulating {model.name}"
    simulation = simulate(model, runtime, limits=limits, tick=steps)
    estimates = [estimate_on(simulation, device, known) for device in question.devices]
    changes = []
    for name in question.what_ifs:
        steps.step = f"simulating {model.name} with {name}"
        after, note = _changed(name, part, model, runtime, scratch, limits, steps)
        guesses = [estimate_on(after, device, known) for device in question.devices]
        changes.append(Change(name, note, after, guesses))
    nodes = find_normalisation(onnx.load(model)) if simulation.compiled else ()
    return PartEstimate(part.name, simulation, estimates, changes, nodes)


def _changed(
    name: str,
    part: Part,
    model: Path,
    runtime: str,
    scratch: Path,
    limits: Limits,
    steps: Steps,
) -> tuple[Simulation, str]:
    """The simulation of the changed model and how it was changed; what cannot be is told."""
    if name == NCHW:
        return simulate(model, "onnx", limits=limits, tick=steps), "images as exported"
    try:
        return _folded(part, model, runtime, scratch, limits, steps)
    except SubmissionError as error:
        failed = Simulation(model, "", runtime, None, error.problem, error.remedy)
        return failed, "cannot be done"


def _folded(
    part: Part, model: Path, runtime: str, scratch: Path, limits: Limits, steps: Steps
) -> tuple[Simulation, str]:
    """The simulation without the normalisation, and how close its answers are on the host."""
    changed = onnx.load(model)
    fold = fold_normalisation(changed)
    folder = scratch / f"{part.name}-folded"
    folder.mkdir()
    path = save_model(changed, folder / model.name)
    steps.step = f"comparing {model.name} with its folded form"
    feeds = _feeds(changed)
    before, after = (_answer(file, feeds, folder, limits, steps) for file in (model, path))
    largest = max(float(np.abs(output).max()) for output in before)
    off = max(float(np.abs(a - b).max()) for a, b in zip(before, after, strict=True))
    if not off <= _ROUNDING * largest:
        raise SubmissionError(
            f"the folded {model.name} differs by {off:.2g} of {largest:.2g} on the host",
            "fold the normalisation by hand, and compare the outputs",
        )
    steps.step = f"simulating {model.name} with {FOLD}"
    how = "with a channel of ones for the padding" if fold.ones else "without padding to mind"
    note = f"{', '.join(fold.nodes)} folded, {how}; outputs differ by {off:.1g} of {largest:.2g}"
    return simulate(path, runtime, limits=limits, tick=steps), note


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


def _answer(
    path: Path, feeds: dict[str, np.ndarray], folder: Path, limits: Limits, steps: Steps
) -> list[np.ndarray]:
    with ModelProcess(path.name, folder, steps, limits) as process:
        process.load(Model("model", "onnx", str(path)))
        try:
            outputs = process.run(feeds, folder / f"answer-{len(list(folder.iterdir()))}").outputs
        except ChildError as error:
            raise SubmissionError(
                f"{path.name} does not run on the host: {error}", "run it with onnxruntime first"
            ) from None
        return [np.array(output, np.float32) for output in outputs]
