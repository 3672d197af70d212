"""TensorFlow's models as ONNX, in a child process: tf2onnx, by which AI Hub takes them."""

import os
from importlib.util import find_spec
from pathlib import Path

from reference.errors import SubmissionError
from reference.install import install_command
from reference.npu.quantize import ToolProcess, scratch_beside
from reference.process import ChildError, Limits, Tick

SAVED_MODEL = "saved_model.pb"
KERAS_FILES = (".keras", ".h5", ".hdf5")


def tensorflow_to_onnx(
    model: Path,
    output: Path,
    *,
    limits: Limits = Limits(),  # noqa: B008 - frozen
    tick: Tick = lambda seconds: None,
) -> Path:
    """Writes a SavedModel folder or a Keras file as ONNX to `output`; returns `output`.

    Inputs and outputs have the names of the signature `serving_default`; of a Keras file those of
    its inputs, and the keys or else the layers of its outputs. Axes stay as TensorFlow has them,
    channels mostly last; a batch that is left open becomes 1. The ONNX has answered as TensorFlow
    on one input of noise. The file is complete or not there. `tick` is called with the seconds
    waited.

    Raises SubmissionError where TensorFlow is not installed, and for what is no such model, runs
    code of its own or reaches beyond its files, leaves sizes open, or has no one signature, for
    operators that ONNX does not have, and beyond `limits`.
    """
    if find_spec("tensorflow") is None or find_spec("tf2onnx") is None:
        raise SubmissionError(
            f"{model.name} is a TensorFlow model, and tensorflow and tf2onnx, which convert it to"
            " ONNX, are not both installed",
            f"{install_command('tensorflow')}, or convert it elsewhere and give the ONNX",
        )
    with scratch_beside(output) as scratch:
        draft = scratch / output.name
        name = f"converting {model.name} to ONNX"
        with ToolProcess("reference.tensorflow.worker", name, scratch, tick, limits) as process:
            try:
                process.ask("convert", model=os.path.abspath(model), output=str(draft))
            except ChildError as error:
                raise SubmissionError(
                    f"{model.name} cannot be converted to ONNX: {error}",
                    "open it in TensorFlow and run it there first, then"
                    " python -m tf2onnx.convert, which says more",
                ) from None
        os.replace(draft, output)
    return output
