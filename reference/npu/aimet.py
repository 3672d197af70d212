"""AIMET's exports, a float model with a file of encodings, as the QDQ that the compiler takes."""

import importlib.util
import os
from pathlib import Path

from reference.errors import SubmissionError
from reference.install import install_command
from reference.npu.quantize import ToolProcess, scratch_beside
from reference.process import ChildError, Limits, Tick


def aimet_to_qdq(
    model: Path,
    encodings: Path,
    output: Path,
    *,
    limits: Limits = Limits(),  # noqa: B008 - frozen
    tick: Tick = lambda seconds: None,
) -> Path:
    """Writes the ONNX file `model`, quantised as `encodings` say, to `output`; returns `output`.

    Versions 0.6.1, 1.0.0 and 2.0.0 of encodings, as aimet-onnx 2.42.0 reads them. Tensors without
    an encoding stay in float. The file is complete or not there. `tick` is called with the seconds
    waited. Raises SubmissionError where aimet-onnx is not installed, the two files do not belong
    together or cannot be read, and beyond `limits`.
    """
    if importlib.util.find_spec("aimet_onnx") is None:
        raise SubmissionError(
            f"{encodings.name} is AIMET's and aimet-onnx, which reads it, is not installed",
            f"{install_command('aimet')} on Linux x86_64,"
            " or give the QDQ model that sim.to_onnx_qdq() makes",
        )
    with scratch_beside(output) as scratch:
        draft = scratch / output.name
        name = f"quantising {model.name} as {encodings.name} says"
        module = "reference.npu.aimet_worker"
        with ToolProcess(module, name, scratch, tick, limits) as process:
            try:
                process.ask(
                    "convert", model=str(model), encodings=str(encodings), output=str(draft)
                )
            except ChildError as error:
                raise SubmissionError(
                    f"{model.name} cannot be quantised as {encodings.name} says: {error}",
                    "keep the files of one sim.export() together, or give sim.to_onnx_qdq()",
                ) from None
        os.replace(draft, output)
    return output
