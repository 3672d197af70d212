"""The child process that holds a model of a job. Nothing else imports it."""

import os
import shutil
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnx.shape_inference

# It would keep a device id and a database under the user's home.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
import onnxruntime as ort

from reference.aihub import graph
from reference.aihub.data import label
from reference.aihub.tasks import TaskError, TensorSpec
from reference.cache import external_files
from reference.child import Child, main
from reference.errors import SubmissionError
from reference.install import install_command
from reference.ort import host_options, host_session, load

_Answer = dict[str, Any]


def _refusing(method: Callable[..., _Answer]) -> Callable[..., _Answer]:
    """Lets a TaskError be an answer, `refusal`."""

    def answer(*arguments: Any, **named: Any) -> _Answer:
        try:
            return method(*arguments, **named)
        except TaskError as error:
            return {"refusal": str(error)}

    return answer


class JobChild(Child):
    """Makes the ONNX model of a target, or runs one on the CPU."""

    @_refusing
    def export(self, model: str, form: str, specs: list[_Answer], output: str) -> _Answer:
        """Writes a PyTorch archive as ONNX, traced on zeros of `specs` or of its own inputs."""
        _need_torch()
        import torch

        from reference.export import write_onnx
        from reference.torch_archive import open_archive

        module = open_archive(Path(model), form)
        wanted = _exported_inputs(module, _specs(specs)) if form == "exported" else _specs(specs)
        inputs = tuple(torch.from_numpy(np.zeros(spec.shape, spec.dtype)) for spec in wanted)
        write_onnx(module, inputs, Path(output), [spec.name for spec in wanted])
        return {}

    @_refusing
    def inputs(self, model: str, specs: list[_Answer]) -> _Answer:
        """Answers the inputs of an exported program, under the names of `specs` if there are."""
        _need_torch()
        from reference.torch_archive import open_archive

        found = _exported_inputs(open_archive(Path(model), "exported"), _specs(specs))
        return {"inputs": [asdict(spec) for spec in found]}

    @_refusing
    def prepare(
        self,
        model: str,
        output: str,
        name: str,
        specs: list[_Answer],
        refuse_int64: bool,
        change: _Answer,
    ) -> _Answer:
        """Writes the ONNX model of the target, its graph called `name`; answers inputs and outputs.

        `change` has what `reference.aihub.options.CompileOptions` has of names, types and layouts.
        """
        made = onnx.load(model, load_external_data=False)
        # It enters what is compiled of it: equal graphs of different names are different files.
        made.graph.name = name or "graph"
        for location in external_files(Path(model)):
            _link(Path(model).parent / location, Path(output).parent / location)
        graph.bind_inputs(made, _specs(specs))
        graph.name_outputs(made, change["output_names"])
        if change["truncate_io"]:
            graph.truncate_io(made)
        elif refuse_int64:
            graph.refuse_int64(made)
        for value in made.graph.output:
            value.type.tensor_type.ClearField("shape")
        made = onnx.shape_inference.infer_shapes(made, data_prop=True)
        quantised = graph.quantize_io(made) if change["quantize_io"] else {}
        graph.channels_last(made, change["last_inputs"], change["last_outputs"])
        onnx.save(made, output)
        _set_shapes(made, output)
        onnx.save(made, output)
        return {
            "inputs": [_described(v, quantised) for v in graph.model_inputs(made)],
            "outputs": [_described(v, quantised) for v in made.graph.output],
        }

    def optimise(self, model: str, output: str, data: str) -> _Answer:
        """Writes the model as onnxruntime simplifies it for any device, its weights in `data`."""
        options = host_options()
        options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_ENABLE_BASIC
        options.optimized_model_filepath = output
        entry = "session.optimized_model_external_initializers_"
        options.add_session_config_entry(f"{entry}file_name", data)
        options.add_session_config_entry(f"{entry}min_size_in_bytes", "1024")
        ort.InferenceSession(model, options, providers=["CPUExecutionProvider"])
        return {}

    @_refusing
    def inspect(self, model: str, scratch: str) -> _Answer:
        """Answers the inputs, outputs and nodes of an ONNX file, and the path of its `binary`.

        That is None for a model without a context binary; one that is inside it is written to the
        folder `scratch`.
        """
        found = onnx.load(model, load_external_data=False)
        contexts = [node for node in found.graph.node if node.op_type == "EPContext"]
        return {
            "inputs": [graph.describe(value) for value in graph.model_inputs(found)],
            "outputs": [graph.describe(value) for value in found.graph.output],
            "nodes": [(node.name, node.op_type) for node in found.graph.node],
            "binary": _binary(found, contexts, Path(model), Path(scratch)) if contexts else None,
        }

    def load(self, model: str) -> _Answer:
        """Loads an ONNX model on the CPU; answers the runtime's name."""
        runtime, self._run = load(model)
        return {"runtime": runtime}


def _need_torch() -> None:
    """Raises SubmissionError where PyTorch is missing."""
    try:
        import reference.torch_archive  # noqa: F401
    except ImportError:
        raise SubmissionError(
            "a PyTorch model needs PyTorch, which is not installed",
            install_command("torch"),
        ) from None


def _specs(specs: list[_Answer]) -> list[TensorSpec]:
    return [TensorSpec(spec["name"], tuple(spec["shape"]), spec["dtype"]) for spec in specs]


def _exported_inputs(module: Any, specs: list[TensorSpec]) -> list[TensorSpec]:
    """The inputs of an exported program under the names of `specs`, which must fit them."""
    places = [node for node in module.graph.nodes if node.op == "placeholder"]
    own = []
    for place in places:
        value = place.meta["val"]
        dtype = str(value.dtype).removeprefix("torch.")
        # A dynamic size has the hint that the program was exported with.
        shape = tuple(size if isinstance(size, int) else size.node.hint for size in value.shape)
        own.append((TensorSpec(place.name, shape, dtype), value.shape))
    if not specs:
        return [spec for spec, _ in own]
    if len(specs) != len(own):
        raise TaskError(f"input_specs has {len(specs)} inputs, and the program takes {len(own)}")
    for given, (spec, sizes) in zip(specs, own, strict=True):
        fits = len(given.shape) == len(sizes) and all(
            want == have or not isinstance(have, int)
            for want, have in zip(given.shape, sizes, strict=True)
        )
        if not fits or given.dtype != spec.dtype:
            raise TaskError(
                f"input_specs gives {given.name!r} as {label(given.dtype, given.shape)},"
                f" and the program has it as {label(spec.dtype, spec.shape)}"
            )
    return specs


def _set_shapes(model: Any, path: str) -> None:
    """Gives the outputs the shapes that onnxruntime infers, which must be fixed."""
    session = host_session(path)
    for value, found in zip(model.graph.output, session.get_outputs(), strict=True):
        if not all(isinstance(size, int) for size in found.shape):
            raise TaskError(
                f"the size of output {value.name!r} depends on the data;"
                f" write it with tensors of fixed shape"
            )
        element = value.type.tensor_type.elem_type
        value.CopyFrom(onnx.helper.make_tensor_value_info(value.name, element, found.shape))


def _described(value: Any, quantised: dict[str, tuple[float, float]]) -> _Answer:
    scale, zero = quantised.get(value.name, (None, None))
    return {**graph.describe(value), "scale": scale, "zero_point": zero}


def _binary(model: Any, contexts: list[Any], path: Path, scratch: Path) -> str:
    if len(model.graph.node) > 1:
        raise TaskError("the local AI Hub runs an ONNX model with one context binary alone in it")
    attributes = {entry.name: entry for entry in contexts[0].attribute}
    cache = attributes["ep_cache_context"].s
    if "embed_mode" not in attributes or attributes["embed_mode"].i:
        (scratch / "embedded.bin").write_bytes(cache)
        return str(scratch / "embedded.bin")
    name = str(cache.decode())
    if Path(name).name != name or not (path.parent / name).is_file():
        raise TaskError(f"the model wants its context binary in {name!r}, which is not beside it")
    return str(path.with_name(name))


def _link(source: Path, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    if not target.exists():
        try:
            os.link(source, target)
        except OSError:
            shutil.copyfile(source, target)


if __name__ == "__main__":
    main(JobChild())
