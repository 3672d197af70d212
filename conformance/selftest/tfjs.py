"""Translates a network in TensorFlow.js's format to ONNX, channels first.

It knows the operators of a DeepLabV3 on MobileNetV2, whose maps all have odd sides (513, 257, 129,
65): TensorFlow's padding SAME is the same on all four of them.
"""

import base64
import json
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from onnx import ModelProto, NodeProto, TensorProto, helper, numpy_helper

Values = Mapping[str, np.ndarray]

_OPSET, _IR = 17, 8


def deeplab(description: bytes, *shards: bytes) -> bytes:
    """An ONNX file from `model.json` and its weights: from pixels in [-1, 1] to class logits.

    The model's own scaling of the picture is left out, and so is the choice of the best class.
    """
    read = json.loads(description)
    (group,) = read["weightsManifest"]
    network = _Network(
        read["modelTopology"]["node"], unpacked(group["weights"], b"".join(shards)), "sub_7"
    )
    model = network.model("logits/semantic/BiasAdd", (1, 3, 513, 513), (1, 21, 65, 65))
    content: bytes = model.SerializeToString(deterministic=True)
    return content


def unpacked(entries: Sequence[Mapping[str, Any]], content: bytes) -> Values:
    """The arrays that lie in `content` one after the other; ValueError where it ends elsewhere."""
    values, start = {}, 0
    for entry in entries:
        count, dtype = int(np.prod(entry["shape"], dtype=int)), np.dtype(entry["dtype"])
        array = np.frombuffer(content, dtype, count, start)
        values[entry["name"]] = array.reshape(entry["shape"])
        start += array.nbytes
    if start != len(content):
        raise ValueError(f"the weights take {start} bytes, not {len(content)}")
    return values


class _Network:
    """The part of a graph that lies between the tensor `source` and a wanted one."""

    def __init__(self, nodes: list[dict[str, Any]], values: Values, source: str) -> None:
        self._nodes = {node["name"]: node for node in nodes}
        self._values = values
        self._source = source
        self._written: dict[str, NodeProto] = {}
        self._initializers: dict[str, TensorProto] = {}

    def model(self, target: str, fed: Sequence[int], given: Sequence[int]) -> ModelProto:
        self._visit(target)
        graph = helper.make_graph(
            list(self._written.values()),
            "network",
            [helper.make_tensor_value_info(self._source, TensorProto.FLOAT, fed)],
            [helper.make_tensor_value_info(target, TensorProto.FLOAT, given)],
            list(self._initializers.values()),
        )
        opsets = [helper.make_opsetid("", _OPSET)]
        return helper.make_model(graph, opset_imports=opsets, ir_version=_IR)

    def _visit(self, name: str) -> str:
        """Writes what computes the tensor `name`, if it is not written yet; gives the name."""
        if name == self._source or name in self._written:
            return name
        if name in self._values:
            return self._constant(name, self._values[name].reshape(-1, 1, 1))
        node = self._nodes[name]
        inputs: list[str] = node["input"]
        match node["op"]:
            case "Conv2D" | "DepthwiseConv2dNative":
                return self._convolution(name, node, inputs[0], 1)
            case "BatchToSpaceND":  # with what it undoes, a dilated convolution
                inner = self._nodes[inputs[0]]
                outer = self._nodes[inner["input"][0]]
                dilation = int(self._values[inputs[1]][0])
                return self._convolution(name, inner, outer["input"][0], dilation)
            case "Add" | "AddN" | "BiasAdd":
                return self._write("Add", name, inputs)
            case "Mul" | "Relu" as op:
                return self._write(op, name, inputs)
            case "Relu6":
                low, high = (self._constant(str(x), np.float32(x)) for x in (0, 6))
                return self._write("Clip", name, inputs, low, high)
            case "AvgPool":
                size, strides = (_ints(node, key)[1:3] for key in ("ksize", "strides"))
                return self._write("AveragePool", name, inputs, kernel_shape=size, strides=strides)
            case "ResizeBilinear":  # of one pixel
                scales = np.array([1, 1, *self._values[inputs[1]]], np.float32)
                spread = self._constant(inputs[1], scales)
                return self._write("Resize", name, inputs[:1], "", spread, mode="linear")
            case "ConcatV2":
                return self._write("Concat", name, inputs[:-1], axis=1)
            case other:
                raise ValueError(f"the operator {other} of {name} is not translated")

    def _convolution(self, name: str, node: dict[str, Any], source: str, dilation: int) -> str:
        kernel = self._values[node["input"][1]]
        depthwise = node["op"] == "DepthwiseConv2dNative"
        stored = kernel.transpose((2, 3, 0, 1) if depthwise else (3, 2, 0, 1))
        same = base64.b64decode(node["attr"]["padding"]["s"]) == b"SAME"
        if same == (dilation > 1):
            raise ValueError(f"the padding of {name} is not translated")
        return self._write(
            "Conv",
            name,
            [source],
            self._constant(node["input"][1], np.ascontiguousarray(stored)),
            group=kernel.shape[2] if depthwise else 1,
            strides=_ints(node, "strides")[1:3],
            dilations=[dilation] * 2,
            pads=[dilation * (kernel.shape[0] // 2)] * 4,
        )

    def _write(
        self, op: str, name: str, inputs: Sequence[str], *more: str, **attributes: object
    ) -> str:
        read = [*map(self._visit, inputs), *more]
        self._written[name] = helper.make_node(op, read, [name], name=name, **attributes)
        return name

    def _constant(self, name: str, value: np.ndarray | np.generic) -> str:
        self._initializers[name] = numpy_helper.from_array(np.asarray(value), name)
        return name


def _ints(node: Mapping[str, Any], key: str) -> list[int]:
    return [int(x) for x in node["attr"][key]["list"]["i"]]
