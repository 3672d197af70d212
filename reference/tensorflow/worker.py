"""The child process that holds TensorFlow. Nothing else imports it."""

import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from reference.child import Child, main
from reference.errors import SubmissionError
from reference.tensorflow import guard

os.environ.update(
    CUDA_VISIBLE_DEVICES="",
    KERAS_BACKEND="tensorflow",
    TF_CPP_MIN_LOG_LEVEL="3",
    TF_USE_LEGACY_KERAS="0",
)

_OPSET = 17
_SIGNATURE = "serving_default"
# Of the largest value that TensorFlow answers.
_TOLERANCE = 0.01

Function = Callable[..., Mapping[str, Any]]


class TensorFlowChild(Child):
    """Converts one model to ONNX."""

    def convert(self, model: str, output: str) -> dict[str, str]:
        """Writes the SavedModel folder or Keras file `model` as ONNX to `output`."""
        path, scratch = Path(model), Path(output).parent
        function, signature = _saved_model(path) if path.is_dir() else _keras(path, scratch)
        _convert(path.name, function, [_fixed(path.name, spec) for spec in signature], output)
        return {}


def _saved_model(folder: Path) -> tuple[Function, list[Any]]:
    """What a folder computes, by the names of its outputs, and what it takes."""
    guard.check_saved_model(folder)
    import tensorflow as tf

    loaded = tf.saved_model.load(str(folder))
    signatures = loaded.signatures
    names = [*signatures]
    if _SIGNATURE not in names and len(names) != 1:
        several = f"{len(names)} signatures, {', '.join(names)}, and none is called {_SIGNATURE}"
        raise SubmissionError(
            f"{folder.name} has {several if names else 'no signature'}",
            f"tf.saved_model.save(model, FOLDER, signatures={{'{_SIGNATURE}': function}})",
        )
    signature = signatures[_SIGNATURE if _SIGNATURE in names else names[0]]
    specs = list(signature.structured_input_signature[1].values())
    keys = list(signature.structured_input_signature[1])

    def run(*tensors: Any) -> Mapping[str, Any]:
        _ = loaded  # holds the variables
        answer: Mapping[str, Any] = signature(**dict(zip(keys, tensors, strict=True)))
        return answer

    return run, [tf.TensorSpec(s.shape, s.dtype, key) for key, s in zip(keys, specs, strict=True)]


def _keras(path: Path, scratch: Path) -> tuple[Function, list[Any]]:
    """What a Keras file computes, by the names of its outputs, and what it takes."""
    if path.suffix.lower() == ".keras":
        guard.check_keras(path, scratch)
    else:
        guard.check_keras_h5(path)
    import keras
    import tensorflow as tf

    model = keras.saving.load_model(path, compile=False, safe_mode=True)
    if not getattr(model, "inputs", None):
        raise SubmissionError(f"{path.name} does not say what it takes", f"call {guard.EXPORT}")
    if isinstance(model, keras.Sequential):
        model = keras.Model(model.inputs, model.outputs)
    keys = [*model.output] if isinstance(model.output, dict) else model.output_names
    structure = model.input

    def run(*tensors: Any) -> Mapping[str, Any]:
        given = tf.nest.pack_sequence_as(structure, tensors)
        answer = model(given, training=False)
        return (
            answer
            if isinstance(answer, dict)
            else dict(zip(keys, tf.nest.flatten(answer), strict=True))
        )

    flat = tf.nest.flatten(structure)
    return run, [tf.TensorSpec(v.shape, v.dtype, v.name) for v in flat]


def _fixed(name: str, spec: Any) -> Any:
    """The specification with a batch of 1 where that is open; raises where anything else is."""
    import tensorflow as tf

    if spec.shape.rank is None or None in spec.shape.as_list()[1:]:
        sizes = (
            "unknown" if spec.shape.rank is None else "x".join(str(s or "?") for s in spec.shape)
        )
        raise SubmissionError(
            f"{name} leaves sizes of the input {spec.name!r} open: {sizes}",
            "fix all but the batch: keras.Input((480, 640, 3), name=...) or tf.TensorSpec",
        )
    return tf.TensorSpec([size or 1 for size in spec.shape], spec.dtype, spec.name)


def _convert(name: str, run: Function, signature: list[Any], output: str) -> None:
    import onnx
    import tensorflow as tf
    import tf2onnx

    function = tf.function(run)
    guard.check_function(name, function.get_concrete_function(*signature).graph.as_graph_def())
    model, _ = tf2onnx.convert.from_function(function, signature, opset=_OPSET)
    unknown = sorted(
        {n.op_type for n in model.graph.node if not onnx.defs.has(n.op_type, n.domain)}
    )
    if unknown:
        raise SubmissionError(
            f"{name} has operators that ONNX does not have: {', '.join(unknown)}",
            "write them with layers or operators of another kind",
        )
    feeds = {spec.name: _noise(spec) for spec in signature}
    answer = function(*(tf.constant(value) for value in feeds.values()))
    for value in model.graph.output:
        sizes = value.type.tensor_type.shape
        sizes.ClearField("dim")
        for size in answer[value.name].shape:
            sizes.dim.add().dim_value = size
    onnx.save(model, output)
    _compare(name, output, feeds, {key: tensor.numpy() for key, tensor in answer.items()})


def _noise(spec: Any) -> np.ndarray:
    """0..1, whole numbers too; the same every time."""
    values = np.random.default_rng(0).uniform(0, 1, spec.shape.as_list())
    noise: np.ndarray = values.astype(spec.dtype.as_numpy_dtype)
    return noise


def _compare(name: str, path: str, feeds: Mapping[str, Any], wanted: Mapping[str, Any]) -> None:
    """Raises SubmissionError where the ONNX does not answer as TensorFlow does."""
    import onnxruntime

    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    outputs = [value.name for value in session.get_outputs()]
    for key, found in zip(outputs, session.run(outputs, dict(feeds)), strict=True):
        own = wanted[key]
        largest = float(np.nanmax(np.abs(own.astype(np.float64)), initial=0))
        if not np.allclose(found, own, rtol=0, atol=_TOLERANCE * largest, equal_nan=True):
            raise SubmissionError(
                f"the ONNX that tf2onnx makes of {name} answers something else as {key!r}",
                "see which operator differs with a shorter model, and write it in another way",
            )


if __name__ == "__main__":
    main(TensorFlowChild())
