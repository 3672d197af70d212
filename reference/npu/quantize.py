"""Makes a quantised model (QDQ) of a float one, calibrated on examples of its inputs."""

import contextlib
import os
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np

from reference.arrays import write_npy
from reference.errors import SubmissionError
from reference.process import ChildError, ChildProcess, Limits, Tick

Precision = Literal["w8a8", "w8a16", "w4a8", "w4a16", "w16a16"]
Feeds = Mapping[str, np.ndarray]

# Of the examples one in four is not calibrated on, so that the judgement is of unseen data.
JUDGED_EVERY = 4
_WORKER = "reference.npu.quantize_worker"


@dataclass(frozen=True)
class Fidelity:
    """How close one output is to the float model's.

    `cosine` of the two outputs as vectors, the mean over the examples; `sqnr_db` is the signal to
    quantisation noise ratio in decibels over all examples, inf where there is no noise.
    """

    cosine: float
    sqnr_db: float


@dataclass(frozen=True)
class Quantized:
    """A quantised model at `path`, `size` in bytes.

    Of its `operators`, constants and (de)quantisation not counted, `quantised` work on quantised
    tensors. `fidelity` is by output name, over `judged` examples that the `calibrated` ones do not
    hold; a single example is used for both.
    """

    path: Path
    precision: Precision
    size: int
    operators: int
    quantised: int
    calibrated: int
    judged: int
    fidelity: dict[str, Fidelity]


class ToolProcess(ChildProcess):
    """A child process that runs `module`, a tool of this project's; what it writes is in
    `scratch`, and `name` is what it does.
    """

    def __init__(self, module: str, name: str, scratch: Path, tick: Tick, limits: Limits) -> None:
        own = ("HOME", "XDG_CACHE_HOME", "TMPDIR", "TEMP", "TMP")
        home = dict.fromkeys(own, str(scratch))
        super().__init__(module, name, scratch, tick, limits, home, tool=f"our own {module}")


def quantize(
    model: Path,
    output: Path,
    calibration: Iterable[Feeds],
    precision: Precision = "w8a8",
    *,
    limits: Limits = Limits(),  # noqa: B008 - frozen
    tick: Tick = lambda seconds: None,
) -> Quantized:
    """Writes the float ONNX file `model` to `output` with integer weights and activations.

    `w8a16` has int8 weights and uint16 activations; weights of convolutions have a scale a channel,
    and those of four bits are rounded to nearest.
    Names, shapes and dtypes of the inputs and outputs stay, tensors of integers too. The file is
    complete or not there, and the same for the same inputs; its opset is 21 or more, the first
    whose standard operators hold 16 bits. `calibration` gives the inputs by name of one forward
    pass each, and is kept on disk. `tick` is called with the seconds waited.

    Raises SubmissionError without examples, for a model that is quantised already, has dynamic
    shapes or cannot be quantised, and where the tool goes beyond `limits`.
    """
    with scratch_beside(output) as scratch:
        draft = scratch / output.name
        examples = _write_examples(calibration, scratch)
        judged = examples[JUDGED_EVERY - 1 :: JUDGED_EVERY] or examples[-1:]
        calibrated = [example for example in examples if example not in judged] or judged
        with ToolProcess(_WORKER, f"quantising {model.name}", scratch, tick, limits) as process:
            try:
                counts = process.ask(
                    "quantize",
                    model=str(model),
                    output=str(draft),
                    examples=calibrated,
                    precision=precision,
                )
                fidelity = _compare(process, model, draft, judged)
            except ChildError as error:
                raise SubmissionError(
                    f"{model.name} cannot be quantised: {error}",
                    "check it with onnx.checker and run it in onnxruntime first",
                ) from None
        size = draft.stat().st_size
        os.replace(draft, output)
    return Quantized(
        path=output,
        precision=precision,
        size=size,
        operators=counts["operators"],
        quantised=counts["quantised"],
        calibrated=len(calibrated),
        judged=len(judged),
        fidelity=fidelity,
    )


def compare(
    model: Path,
    quantised: Path,
    examples: Iterable[Feeds],
    *,
    limits: Limits = Limits(),  # noqa: B008 - frozen
    tick: Tick = lambda seconds: None,
) -> dict[str, Fidelity]:
    """How close each output of the ONNX file `quantised` is to that of the float one, `model`.

    Both run in onnxruntime on the CPU, with every quantisation done as it is written. Raises
    SubmissionError without examples, where one of the two cannot be run on them or lacks an output
    of the other, and beyond `limits`.
    """
    with tempfile.TemporaryDirectory(prefix="lpcvc-") as folder:
        scratch = Path(folder)
        written = _write_examples(examples, scratch)
        with ToolProcess(_WORKER, f"comparing {quantised.name}", scratch, tick, limits) as process:
            try:
                return _compare(process, model, quantised, written)
            except ChildError as error:
                raise SubmissionError(
                    f"{quantised.name} cannot be compared with {model.name}: {error}",
                    "give the float model that it was made of, with the same inputs and outputs",
                ) from None


def _compare(
    process: ToolProcess, model: Path, other: Path, examples: list[dict[str, str]]
) -> dict[str, Fidelity]:
    answer = process.ask("compare", model=str(model), other=str(other), examples=examples)
    return {name: Fidelity(*numbers) for name, numbers in answer["outputs"].items()}


@contextlib.contextmanager
def scratch_beside(output: Path) -> Iterator[Path]:
    """A scratch folder beside `output`, from which a finished file can be moved there.

    Raises SubmissionError where it cannot be written.
    """
    try:
        output.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=output.parent, prefix=".quantize-") as scratch:
            yield Path(scratch).resolve()
    except OSError as error:
        raise SubmissionError(
            f"{output} cannot be written ({error.strerror or error})",
            "choose another place for it, with room for the calibration data",
        ) from None


def _write_examples(examples: Iterable[Feeds], folder: Path) -> list[dict[str, str]]:
    """The inputs of each forward pass as .npy files, by name."""
    written = []
    for example, feeds in enumerate(examples):
        files = {}
        for index, (name, array) in enumerate(feeds.items()):
            file = folder / f"example_{example}_{index}.npy"
            write_npy(file, array)
            files[name] = str(file)
        written.append(files)
    if not written:
        raise SubmissionError("there is no example of the inputs", "give at least one example")
    return written
