"""The models that a verb is given, with a track or without one."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from conformance.contract.evidence import Evidence
from conformance.contract.items import ContractWing
from conformance.report.progress import ProgressLine
from conformance.report.terminal import Row
from conformance.runtimes.process import ModelProcess
from conformance.subject import Progress, onnx_files, subject_of, ticking
from conformance.submission.files import models_in
from conformance.submission.graph import read_graph
from conformance.submission.model import Model
from reference.errors import SubmissionError
from reference.process import ChildError, Limits, Tick
from reference.tracks import Track


def files_by_part(
    track: Track | None, specs: Sequence[str], folder: Path, limits: Limits, progress: Progress
) -> dict[str, Path]:
    """The ONNX file of each part of a submission, or of the reference where `specs` is empty.

    Without a track it is the file of each model by its name, and none is exported. What is written
    goes to `folder`. Raises SubmissionError for what cannot be opened.
    """
    if track is not None:
        return onnx_files(subject_of(track, specs, folder, limits), folder, limits, progress)
    files: dict[str, Path] = {}
    for model in (model for spec in specs for model in models_in(spec, folder, limits)):
        need_onnx(model)
        if model.path.stem in files:
            raise SubmissionError(
                f"two models are called {model.path.stem}", "give each in a run of its own"
            )
        read_graph(model.path, limits, ticking(progress, f"reading {model.path.name}"))
        files[model.path.stem] = model.path
    return files


def held_to_the_gate(wing: ContractWing, line: ProgressLine) -> tuple[list[Row], Evidence]:
    """What the rules of the contract say of the one submission of `wing`, and its evidence."""
    rows = []
    for case in wing.cases():
        case.follow(line)
        rows.append(case.judged().row)
    return rows, wing.assessments[0].evidence


def answers(
    path: Path, feeds: Mapping[str, np.ndarray], folder: Path, limits: Limits, tick: Tick
) -> list[np.ndarray]:
    """What an ONNX file gives on the host, as float32; raises SubmissionError where it gives
    nothing.
    """
    with ModelProcess(path.name, folder, tick, limits) as process:
        process.load(Model("model", "onnx", str(path)))
        try:
            outputs = process.run(
                dict(feeds), folder / f"answer-{len(list(folder.iterdir()))}"
            ).outputs
        except ChildError as error:
            raise SubmissionError(
                f"{path.name} does not run on the host: {error}", "run it with onnxruntime first"
            ) from None
        return [np.array(output, np.float32) for output in outputs]


def need_onnx(model: Model) -> None:
    """Raises SubmissionError for a model that only a track could export."""
    if model.torch:
        raise SubmissionError(
            f"{model.path.name} is no ONNX file and is exported for the inputs of a track",
            "add --track",
        )
