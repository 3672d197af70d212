"""Small ONNX models for the compiler, and what onnxruntime's CPU makes of them."""

import platform
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import onnx
import onnxruntime as ort
import pytest
from onnx import TensorProto, helper, numpy_helper

FLOAT, DOUBLE, INT64 = TensorProto.FLOAT, TensorProto.DOUBLE, TensorProto.INT64
PICTURE = (1, 3, 32, 32)

HAS_COMPILER = sys.platform == "win32" or (sys.platform, platform.machine()) == ("linux", "x86_64")
needs_compiler = pytest.mark.skipif(
    not HAS_COMPILER, reason="onnxruntime-qnn exists for Linux x86_64 and Windows only"
)

Value = tuple[str, int, Sequence[int | str]]
RNG = np.random.default_rng(0)
KERNEL = RNG.normal(size=(8, 3, 3, 3)).astype(np.float32) * 0.2
KERNEL_2 = RNG.normal(size=(8, 8, 3, 3)).astype(np.float32) * 0.2
PHOTO = RNG.random(PICTURE, dtype=np.float32)


def model(
    nodes: Sequence[onnx.NodeProto],
    inputs: Sequence[Value],
    outputs: Sequence[Value],
    weights: dict[str, np.ndarray] | None = None,
    opset: int = 17,
) -> onnx.ModelProto:
    graph = helper.make_graph(
        nodes,
        "graph",
        [helper.make_tensor_value_info(*value) for value in inputs],
        [helper.make_tensor_value_info(*value) for value in outputs],
        [numpy_helper.from_array(np.asarray(a), name) for name, a in (weights or {}).items()],
    )
    opsets = [helper.make_opsetid("", opset)]
    return helper.make_model(graph, opset_imports=opsets, ir_version=9)


def node(op: str, inputs: str, outputs: str, **attributes: object) -> onnx.NodeProto:
    name = f"/{outputs.split()[0]}/{op}"
    return helper.make_node(op, inputs.split(), outputs.split(), name=name, **attributes)


def conv(inputs: str = "x kernel", output: str = "c") -> onnx.NodeProto:
    return node("Conv", inputs, output, pads=[1, 1, 1, 1])


def net() -> onnx.ModelProto:
    """Convolutions, pooling and resizing: a segmentation net in miniature."""
    nodes = [
        conv(),
        node("Relu", "c", "r"),
        node("MaxPool", "r", "p", kernel_shape=[2, 2], strides=[2, 2]),
        conv("p kernel_2", "d"),
        node("Resize", "d  scales", "u", mode="linear"),
        node("Add", "r u", "y"),
    ]
    nodes[4].input[:] = ["d", "", "scales"]
    weights = {
        "kernel": KERNEL,
        "kernel_2": KERNEL_2,
        "scales": np.array([1, 1, 2, 2], np.float32),
    }
    return model(nodes, [("x", FLOAT, PICTURE)], [("y", FLOAT, (1, 8, 32, 32))], weights)


def quantised() -> onnx.ModelProto:
    """A convolution in w8a8, as QDQ."""
    nodes = [
        node("QuantizeLinear", "x sx zx", "xq"),
        node("DequantizeLinear", "xq sx zx", "xd"),
        node("DequantizeLinear", "kernel sk zk", "kd"),
        conv("xd kd"),
        node("QuantizeLinear", "c sy zy", "yq"),
        node("DequantizeLinear", "yq sy zy", "y"),
    ]
    weights = {
        "kernel": np.round(KERNEL * 100).astype(np.int8),
        "sx": np.float32(1 / 255),
        "zx": np.uint8(0),
        "sk": np.float32(0.01),
        "zk": np.int8(0),
        "sy": np.float32(0.02),
        "zy": np.uint8(128),
    }
    return model(nodes, [("x", FLOAT, PICTURE)], [("y", FLOAT, (1, 8, 32, 32))], weights)


def quantised_16() -> onnx.ModelProto:
    """The same in w8a16: what it gives are 16 bits."""
    made = quantised()
    for tensor in made.graph.initializer:
        if tensor.name in ("zx", "zy"):
            tensor.CopyFrom(numpy_helper.from_array(np.uint16(0), tensor.name))
    made.opset_import[0].version = 21
    made.ir_version = 10
    return made


def one(op: str, inputs: Sequence[Value], output: Value, **attributes: object) -> onnx.ModelProto:
    """One operator alone."""
    names = " ".join(name for name, _, _ in inputs)
    return model([node(op, names, output[0], **attributes)], inputs, [output])


def mask() -> onnx.ModelProto:
    """`(x >= 0).float()`."""
    nodes = [node("GreaterOrEqual", "x zero", "b"), node("Cast", "b", "y", to=FLOAT)]
    weights = {"zero": np.float32(0)}
    return model(nodes, [("x", FLOAT, (1, 64))], [("y", FLOAT, (1, 64))], weights)


def elementwise() -> onnx.ModelProto:
    """No operator that depends on the layout of pictures."""
    nodes = [node("Relu", "x", "r"), node("Add", "r r", "y")]
    return model(nodes, [("x", FLOAT, (1, 8))], [("y", FLOAT, (1, 8))])


def table(dtype: int = INT64) -> onnx.ModelProto:
    """An embedding: four rows, chosen by an index."""
    weights = {"rows": np.arange(32, dtype=np.float32).reshape(4, 8)}
    nodes = [node("Gather", "rows i", "y", axis=0)]
    return model(nodes, [("i", dtype, (1, 2))], [("y", FLOAT, (1, 2, 8))], weights)


def table_int32() -> onnx.ModelProto:
    """The same with an int32 index."""
    return table(TensorProto.INT32)


def elements() -> onnx.ModelProto:
    """Elements of the input, chosen by an index."""
    inputs = [("x", FLOAT, (1, 8)), ("i", INT64, (1, 4))]
    return one("GatherElements", inputs, ("y", FLOAT, (1, 4)), axis=1)


def after_conv(*nodes: onnx.NodeProto, more: Sequence[Value] = (), out: Value) -> onnx.ModelProto:
    """A convolution, which the NPU takes, with `nodes` behind its `c`."""
    inputs = [("x", FLOAT, PICTURE), *more]
    return model([conv(), *nodes], inputs, [out], {"kernel": KERNEL})


def mask_head() -> onnx.ModelProto:
    """Mask2Former's product of queries and features, which the NPU does not take."""
    return after_conv(
        node("Einsum", "q c", "y", equation="bqc,bchw->bqhw"),
        more=[("q", FLOAT, (1, 5, 8))],
        out=("y", FLOAT, (1, 5, 32, 32)),
    )


def float64() -> onnx.ModelProto:
    """A picture in float64."""
    nodes = [node("Cast", "x64", "x", to=FLOAT), conv()]
    values = ("x64", DOUBLE, PICTURE), ("c", FLOAT, (1, 8, 32, 32))
    return model(nodes, values[:1], values[1:], {"kernel": KERNEL})


def dynamic() -> onnx.ModelProto:
    """A batch of any size."""
    values = ("x", FLOAT, ("n", 3, 32, 32)), ("c", FLOAT, ("n", 8, 32, 32))
    return model([conv()], values[:1], values[1:], {"kernel": KERNEL})


def sampled_5d() -> onnx.ModelProto:
    """GridSample of volumes: the compiler refuses the whole model."""
    inputs = [("x", FLOAT, (1, 2, 4, 4, 4)), ("g", FLOAT, (1, 3, 3, 3, 3))]
    nodes = [node("GridSample", "x g", "y")]
    return model(nodes, inputs, [("y", FLOAT, (1, 2, 3, 3, 3))], opset=20)


def huge_relu() -> onnx.ModelProto:
    """4.9 billion elements: the compiler never ends."""
    size = (70_000, 70_000)
    return one("Relu", [("x", FLOAT, size)], ("y", FLOAT, size))


def huge_kernel() -> onnx.ModelProto:
    """A convolution with a 256x256 kernel: the compiler never ends."""
    nodes = [node("ConstantOfShape", "size", "k"), node("Conv", "x k", "y")]
    values = ("x", FLOAT, (1, 3, 512, 512)), ("y", FLOAT, (1, 8, 257, 257))
    return model(nodes, values[:1], values[1:], {"size": np.array([8, 3, 256, 256])})


def huge_constant() -> onnx.ModelProto:
    """A tensor of 4 GiB in the middle."""
    nodes = [
        node("ConstantOfShape", "size", "zeros"),
        node("ReduceMax", "zeros", "peak", keepdims=0),
        node("Add", "x peak", "y"),
    ]
    values = ("x", FLOAT, (1, 8)), ("y", FLOAT, (1, 8))
    return model(nodes, values[:1], values[1:], {"size": np.array([2**30])})


def save(build: Callable[[], onnx.ModelProto], folder: Path) -> Path:
    path = folder / f"{build.__name__}.onnx"
    onnx.save(build(), path)
    return path


def on_cpu(path: Path, feeds: dict[str, np.ndarray]) -> list[np.ndarray]:
    """The answers in float32; fused quantised kernels are off, which are wrong for some graphs."""
    options = ort.SessionOptions()
    options.add_session_config_entry("session.disable_quant_qdq", "1")
    session = ort.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    return list(session.run(None, feeds))
