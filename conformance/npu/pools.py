"""Padded pooling windows, which QAIRT 2.51 computes wrongly for some sizes and strides (E31): each
is tried alone, in the emulator against the host, so that what is said of it holds for this chip and
this toolchain.
"""

import math
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from conformance.runtimes.process import ModelProcess
from conformance.submission.graph import Graph, Node
from conformance.submission.model import Model
from conformance.submission.quantised import operators
from reference.errors import SubmissionError, ToolError
from reference.npu.compile import compile_model
from reference.npu.devices import Device
from reference.npu.emulator import Emulator
from reference.process import ChildError, Limits, Tick

# Of the largest value: float16 alone makes a thousandth, a window in another place much more.
WRONG = 0.05
_POOLS = ("AveragePool", "MaxPool")
_CONVOLUTION = "write it as a depthwise convolution with constant weights"
_OTHERWISE = "pool without padding, or with a window of another size"
_THIN = ("starts", "ends", "axes", "steps")


@dataclass(frozen=True)
class Wrong:
    """A pool that the emulated NPU computes otherwise: the largest `error`, the largest value of
    the host's, and what is right there instead.
    """

    node: Node
    error: float
    highest: float
    remedy: str


def padded_pools(graph: Graph) -> list[Node]:
    """The float pools that pad and have an input of known shape."""
    integers = {id(node) for node in operators(graph).quantised}
    pools = [node for node in graph.nodes if node.op in _POOLS and id(node) not in integers]
    return [node for node in pools if _pads(graph, node)]


def try_pools(
    graph: Graph,
    device: Device,
    limits: Limits = Limits(),  # noqa: B008 - frozen
    tick: Tick = lambda seconds: None,
) -> list[Wrong]:
    """The padded pools of `graph` that the emulated NPU of `device` computes wrongly.

    Raises SubmissionError where the toolchain is missing, or where one of them alone crashes it.
    """
    trials: dict[tuple[object, ...], list[Node]] = {}
    for node in padded_pools(graph):
        kind = (node.op, graph.value(node.inputs[0]).shape, repr(sorted(node.attributes.items())))
        trials.setdefault(kind, []).append(node)
    found: list[Wrong] = []
    for nodes in trials.values():
        shape = [int(size or 0) for size in graph.value(nodes[0].inputs[0]).shape or ()]
        found += _try(nodes, shape, max(graph.opset, 11), device, limits, tick)
    return found


def _pads(graph: Graph, node: Node) -> bool:
    shape = graph.value(node.inputs[0]).shape
    if shape is None or len(shape) != 4 or not all(shape):
        return False
    same = str(node.attributes.get("auto_pad", "")).startswith("SAME")
    return same or any(node.attributes.get("pads", ()))


def _try(
    nodes: Sequence[Node],
    shape: Sequence[int],
    opset: int,
    device: Device,
    limits: Limits,
    tick: Tick,
) -> list[Wrong]:
    model, remedies = _alone(nodes[0], shape, opset)
    feeds = {"x": np.random.default_rng(31).normal(0.5, 1, shape).astype(np.float32)}
    with tempfile.TemporaryDirectory(prefix="lpcvc-pool-") as folder:
        path = Path(folder, "pool.onnx")
        onnx.save(model, path)
        try:
            with ModelProcess("a pool alone", Path(folder), tick, limits) as process:
                process.load(Model("pool", "onnx", str(path)))
                outputs = process.run(feeds, Path(folder, "host")).outputs
                host = [np.array(output) for output in outputs]
            compiled = compile_model(path, device, limits=limits, tick=tick)
            with Emulator(compiled, limits, tick) as emulator:
                npu = emulator.run(feeds).values()
        except ToolError:
            raise
        except (ChildError, SubmissionError) as error:
            problem = f"{nodes[0].label} alone gives no answer: {error}"
            raise SubmissionError(problem, _CONVOLUTION) from None
    errors = [float(np.abs(a - b).max()) for a, b in zip(host, npu, strict=True)]
    highest = float(np.abs(host[0]).max())
    wrong = [error > WRONG * highest for error in errors]
    if not wrong[0]:
        return []
    remedy = next((r for r, bad in zip(remedies, wrong[1:], strict=True) if not bad), _OTHERWISE)
    return [Wrong(node, errors[0], highest, remedy) for node in nodes]


def _alone(node: Node, shape: Sequence[int], opset: int) -> tuple[onnx.ModelProto, list[str]]:
    """A model of the pool alone and, as further outputs, of what could stand for it, in words."""
    strides, pads = (list(node.attributes.get(name, ())) for name in ("strides", "pads"))
    nodes = [helper.make_node(node.op, ["x"], ["y"], "pool", **node.attributes)]
    weights: dict[str, np.ndarray] = {}
    remedies = []
    window = {"kernel_shape": list(node.attributes["kernel_shape"]), "pads": pads}
    if node.op == "AveragePool" and pads:
        kernel = (shape[1], 1, *window["kernel_shape"])
        weights["kernel"] = np.full(kernel, 1 / math.prod(kernel[2:]), np.float32)
        nodes.append(_stand_in("one", shape, strides=strides or [1, 1], **window))
        remedies.append(_CONVOLUTION)
    if max(strides, default=1) > 1 and pads:
        operator = _stand_in if weights else _max_pool
        nodes.append(operator("all", shape, strides=[1, 1], **window))
        nodes.append(helper.make_node("Slice", ["all", *_THIN], ["thin"], "thin"))
        slices = ([0, 0], [np.iinfo(np.int64).max] * 2, [2, 3], strides)
        weights |= {name: np.array(v, np.int64) for name, v in zip(_THIN, slices, strict=True)}
        every = f" of stride 1, and take every {max(strides)}th pixel"
        remedies.append((_CONVOLUTION if operator is _stand_in else "pool with windows") + every)
    read = {name for each in nodes for name in each.input}
    graph = helper.make_graph(
        nodes,
        "pool",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, shape)],
        [
            helper.make_tensor_value_info(each.output[0], TensorProto.FLOAT, None)
            for each in nodes
            if each.output[0] not in read
        ],
        [numpy_helper.from_array(array, name) for name, array in weights.items()],
    )
    opsets = [helper.make_opsetid("", opset)]
    model = helper.make_model(graph, opset_imports=opsets, ir_version=8)
    return onnx.shape_inference.infer_shapes(model), remedies


def _stand_in(output: str, shape: Sequence[int], **window: list[int]) -> onnx.NodeProto:
    return helper.make_node("Conv", ["x", "kernel"], [output], output, group=shape[1], **window)


def _max_pool(output: str, shape: Sequence[int], **window: list[int]) -> onnx.NodeProto:
    return helper.make_node("MaxPool", ["x"], [output], output, **window)
