"""Small TFLite files, written by LiteRT's own schema."""

import importlib.util
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytest

needs_litert = pytest.mark.skipif(
    importlib.util.find_spec("ai_edge_litert") is None,
    reason="ai-edge-litert is for Linux x86_64 only, and not installed",
)
needs_converter = pytest.mark.skipif(
    importlib.util.find_spec("litert_torch") is None,
    reason="litert-torch is for Linux x86_64 only, and not installed",
)
RNG = np.random.default_rng(0)
PICTURE = (1, 8, 16, 4)
KERNEL = RNG.normal(size=(4, 3, 3, 4)).astype(np.float32) * 0.2
BIAS = np.zeros(4, np.float32)


@dataclass
class File:
    """A file of one graph in the making. Tensors are called `t0`, `t1` and so on."""

    tensors: list[Any] = field(default_factory=list)
    buffers: list[Any] = field(default_factory=list)
    codes: list[Any] = field(default_factory=list)
    operators: list[Any] = field(default_factory=list)

    def tensor(
        self,
        shape: Sequence[int],
        value: np.ndarray | None = None,
        *,
        dtype: str = "FLOAT32",
        scale: Sequence[float] = (),
        zero: Sequence[int] = (),
        dynamic: Sequence[int] = (),
    ) -> int:
        """The number of a constant, or of what is computed."""
        from ai_edge_litert import schema_py_generated as schema

        if not self.buffers:
            self.buffers.append(schema.BufferT())
        made = schema.TensorT()
        made.name, made.shape = f"t{len(self.tensors)}".encode(), list(shape)
        made.type = getattr(schema.TensorType, dtype)
        made.shapeSignature = list(dynamic) or None
        if scale:
            made.quantization = schema.QuantizationParametersT()
            made.quantization.scale, made.quantization.zeroPoint = list(scale), list(zero)
        if value is not None:
            buffer = schema.BufferT()
            buffer.data = np.frombuffer(value.tobytes(), np.uint8)
            made.buffer = len(self.buffers)
            self.buffers.append(buffer)
        self.tensors.append(made)
        return len(self.tensors) - 1

    def operator(
        self,
        kind: str,
        inputs: Sequence[int],
        outputs: Sequence[int],
        options: str = "",
        **fields: object,
    ) -> None:
        """`options` names the table of the operator's options; without one it has none. A kind that
        TFLite has not is a custom operator.
        """
        from ai_edge_litert import schema_py_generated as schema

        code, made = schema.OperatorCodeT(), schema.OperatorT()
        code.builtinCode = getattr(schema.BuiltinOperator, kind, schema.BuiltinOperator.CUSTOM)
        code.deprecatedBuiltinCode = min(code.builtinCode, 127)
        code.version = 3 if "INT8" in fields.pop("types", "") else 1
        if code.builtinCode == schema.BuiltinOperator.CUSTOM:
            code.customCode = kind.encode()
        made.opcodeIndex, made.inputs, made.outputs = len(self.codes), list(inputs), list(outputs)
        if options:
            made.builtinOptions = getattr(schema, f"{options}T")()
            made.builtinOptionsType = getattr(schema.BuiltinOptions, options)
            for name, value in fields.items():
                setattr(made.builtinOptions, name, value)
        self.codes.append(code)
        self.operators.append(made)

    def content(
        self, inputs: dict[str, int], outputs: dict[str, int], signatures: Sequence[str] = ("main",)
    ) -> bytes:
        """The bytes, with a signature of each name over the same inputs and outputs."""
        import flatbuffers
        from ai_edge_litert import schema_py_generated as schema

        graph, model = schema.SubGraphT(), schema.ModelT()
        graph.tensors, graph.operators, graph.name = self.tensors, self.operators, b"main"
        graph.inputs, graph.outputs = list(inputs.values()), list(outputs.values())
        model.version, model.subgraphs, model.buffers = 3, [graph], self.buffers
        model.operatorCodes = self.codes
        model.signatureDefs = []
        for name in signatures:
            made = schema.SignatureDefT()
            made.signatureKey, made.subgraphIndex = name.encode(), 0
            made.inputs, made.outputs = _ends(inputs), _ends(outputs)
            model.signatureDefs.append(made)
        builder = flatbuffers.Builder()
        builder.Finish(model.Pack(builder), b"TFL3")
        return bytes(builder.Output())


def _ends(names: dict[str, int]) -> list[Any]:
    from ai_edge_litert import schema_py_generated as schema

    made = []
    for name, index in names.items():
        entry = schema.TensorMapT()
        entry.name, entry.tensorIndex = name.encode(), index
        made.append(entry)
    return made


def convolution(file: File, source: int, activation: int = 1) -> int:
    """Adds a convolution of 3x3 that keeps the size, by default with a ReLU; its output."""
    kernel, bias = file.tensor(KERNEL.shape, KERNEL), file.tensor(BIAS.shape, BIAS)
    output = file.tensor(PICTURE)
    file.operator(
        "CONV_2D",
        [source, kernel, bias],
        [output],
        "Conv2DOptions",
        strideH=1,
        strideW=1,
        dilationHFactor=1,
        dilationWFactor=1,
        fusedActivationFunction=activation,
    )
    return output


def plain() -> bytes:
    """Two convolutions."""
    file = File()
    source = file.tensor(PICTURE)
    output = convolution(file, convolution(file, source))
    return file.content({"image": source}, {"map": output})


def mixed() -> bytes:
    """Two convolutions with what no Snapdragon's NPU has between them: the angle of both."""
    file = File()
    source, other = file.tensor(PICTURE), file.tensor(PICTURE)
    angle = file.tensor(PICTURE)
    first = convolution(file, source)
    file.operator("ATAN2", [first, other], [angle])
    return file.content({"image": source, "other": other}, {"map": convolution(file, angle)})


def custom() -> bytes:
    """An operator of its author's."""
    file = File()
    source, output = file.tensor(PICTURE), file.tensor(PICTURE)
    file.operator("Sorcery", [source], [output])
    return file.content({"image": source}, {"map": output})


def dynamic() -> bytes:
    """A batch of any size."""
    file = File()
    source = file.tensor(PICTURE, dynamic=(-1, *PICTURE[1:]))
    output = file.tensor(PICTURE, dynamic=(-1, *PICTURE[1:]))
    file.operator("RELU", [source], [output])
    return file.content({"image": source}, {"map": output})


def several() -> bytes:
    """Two signatures."""
    file = File()
    source = file.tensor(PICTURE)
    return file.content({"image": source}, {"map": convolution(file, source)}, ("one", "two"))


def enormous() -> bytes:
    """A tensor of 2^31-1 by 2^31-1 by 4 numbers."""
    file = File()
    shape = (1, 2**31 - 1, 2**31 - 1, 4)
    source, output = file.tensor(shape), file.tensor(shape)
    file.operator("RELU", [source], [output])
    return file.content({"image": source}, {"map": output})


def quantised() -> bytes:
    """A convolution of int8, with another scale at each end."""
    file = File()
    scale, zero = (0.02, 0.03), (3, -7)
    source, output = (
        file.tensor(PICTURE, dtype="INT8", scale=[scale[i]], zero=[zero[i]]) for i in (0, 1)
    )
    weights = np.abs(KERNEL).reshape(4, -1).max(1) / 127
    integers = np.round(KERNEL / weights[:, None, None, None]).astype(np.int8)
    kernel = file.tensor(
        KERNEL.shape, integers, dtype="INT8", scale=weights.tolist(), zero=[0, 0, 0, 0]
    )
    bias = file.tensor(
        BIAS.shape,
        BIAS.astype(np.int32),
        dtype="INT32",
        scale=(scale[0] * weights).tolist(),
        zero=[0, 0, 0, 0],
    )
    file.operator(
        "CONV_2D",
        [source, kernel, bias],
        [output],
        "Conv2DOptions",
        types="INT8",
        strideH=1,
        strideW=1,
        dilationHFactor=1,
        dilationWFactor=1,
    )
    return file.content({"image": source}, {"map": output})
