"""Translates a network in TensorFlow Lite's format to ONNX, channels first.

It knows the operators of MediaPipe's selfie segmentation, one of them MediaPipe's own:
`Convolution2DTransposeBias`, see `mediapipe/util/tflite/operations/transpose_conv_bias.cc`.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import onnx.checker
from ai_edge_litert import schema_py_generated as schema
from ai_edge_litert.schema_py_generated import ActivationFunctionType, BuiltinOperator, TensorType
from onnx import ModelProto, NodeProto, TensorProto, ValueInfoProto, helper, numpy_helper

_OPSET, _IR = 17, 8
_DTYPES = {TensorType.FLOAT16: np.float16, TensorType.FLOAT32: np.float32}
_KINDS = {number: kind for kind, number in vars(BuiltinOperator).items() if isinstance(number, int)}
# What an activation inside another operator clips to.
_BOUNDS = {
    ActivationFunctionType.NONE: (),
    ActivationFunctionType.RELU: (0,),
    ActivationFunctionType.RELU6: (0, 6),
}


def translated(content: bytes) -> bytes:
    """The ONNX file for a `.tflite` file; ValueError where an operator is not known."""
    model = _Network(content).model()
    onnx.checker.check_model(model, full_check=True)
    written: bytes = model.SerializeToString(deterministic=True)
    return written


class _Network:
    """The first graph of a file, its tensors by number."""

    def __init__(self, content: bytes) -> None:
        self._file = schema.Model.GetRootAs(content, 0)
        self._graph = self._file.Subgraphs(0)
        self._dequantized: dict[int, np.ndarray] = {}
        self._nodes: list[NodeProto] = []
        self._initializers: dict[str, TensorProto] = {}

    def model(self) -> ModelProto:
        for index in range(self._graph.OperatorsLength()):
            self._translate(self._graph.Operators(index))
        graph = helper.make_graph(
            self._nodes,
            "network",
            [self._info(index) for index in self._graph.InputsAsNumpy()],
            [self._info(index) for index in self._graph.OutputsAsNumpy()],
            list(self._initializers.values()),
        )
        opsets = [helper.make_opsetid("", _OPSET)]
        return helper.make_model(graph, opset_imports=opsets, ir_version=_IR)

    def _translate(self, operator: Any) -> None:
        inputs: list[int] = operator.InputsAsNumpy().tolist()
        (output,) = operator.OutputsAsNumpy().tolist()
        names = [self._name(index) for index in inputs]
        match kind := self._kind(operator):
            case "DEQUANTIZE":
                self._dequantized[output] = self._value(inputs[0]).astype(np.float32)
            case "CONV_2D":
                options = _options(operator, schema.Conv2DOptions)
                self._convolution(inputs, output, options, (0, 3, 1, 2), 1)
            case "DEPTHWISE_CONV_2D":
                options = _options(operator, schema.DepthwiseConv2DOptions)
                self._convolution(inputs, output, options, (3, 0, 1, 2), self._shape(inputs[0])[1])
            case "Convolution2DTransposeBias":
                self._transposed_convolution(inputs, output, operator.CustomOptionsAsNumpy())
            case "AVERAGE_POOL_2D":
                self._average_pool(inputs[0], output, _options(operator, schema.Pool2DOptions))
            case "RESIZE_BILINEAR":
                self._resize(inputs, output, _options(operator, schema.ResizeBilinearOptions))
            case "ADD":
                options = _options(operator, schema.AddOptions)
                self._write("Add", names, output, options.FusedActivationFunction())
            case "MUL":
                options = _options(operator, schema.MulOptions)
                self._write("Mul", names, output, options.FusedActivationFunction())
            case "RELU":
                self._write("Relu", names, output)
            case "LOGISTIC":
                self._write("Sigmoid", names, output)
            case "HARD_SWISH":
                self._write("HardSwish", names, output)
            case _:
                raise ValueError(f"the operator {kind} of {self._name(output)} is not translated")

    def _convolution(
        self, inputs: list[int], output: int, options: Any, order: Sequence[int], group: int
    ) -> None:
        """`order`: the axes on which the kernel has outputs, inputs, height and width."""
        source, kernel, bias = inputs
        strides = options.StrideH(), options.StrideW()
        dilations = options.DilationHFactor(), options.DilationWFactor()
        sides = self._shape(kernel)[2:]
        window = [d * (side - 1) + 1 for d, side in zip(dilations, sides, strict=True)]
        self._write(
            "Conv",
            [self._name(source), self._stored(kernel, order), self._stored(bias, (0,))],
            output,
            options.FusedActivationFunction(),
            group=group,
            strides=strides,
            dilations=dilations,
            pads=_pads(self._shape(source), self._shape(output), window, strides),
        )

    def _transposed_convolution(self, inputs: list[int], output: int, options: np.ndarray) -> None:
        source, kernel, bias = inputs
        _, stride_width, stride_height = options.view("<i4")
        strides = int(stride_height), int(stride_width)
        window = self._shape(kernel)[2:]
        self._write(
            "ConvTranspose",
            [self._name(source), self._stored(kernel, (3, 0, 1, 2)), self._stored(bias, (0,))],
            output,
            strides=strides,
            pads=_pads(self._shape(output), self._shape(source), window, strides),
        )

    def _average_pool(self, source: int, output: int, options: Any) -> None:
        window = options.FilterHeight(), options.FilterWidth()
        strides = options.StrideH(), options.StrideW()
        self._write(
            "AveragePool",
            [self._name(source)],
            output,
            options.FusedActivationFunction(),
            kernel_shape=window,
            strides=strides,
            pads=_pads(self._shape(source), self._shape(output), window, strides),
        )

    def _resize(self, inputs: list[int], output: int, options: Any) -> None:
        source, size = inputs
        sizes = self._constant(self._name(size), np.array(self._shape(output)))
        if options.AlignCorners():
            coordinates = "align_corners"
        else:
            coordinates = "half_pixel" if options.HalfPixelCenters() else "asymmetric"
        self._write(
            "Resize",
            [self._name(source), "", "", sizes],
            output,
            mode="linear",
            coordinate_transformation_mode=coordinates,
        )

    def _write(
        self,
        op: str,
        inputs: Sequence[str],
        output: int,
        activation: int = ActivationFunctionType.NONE,
        **attributes: object,
    ) -> None:
        name = self._name(output)
        if activation not in _BOUNDS:
            raise ValueError(f"the fused activation {activation} of {name} is not translated")
        bounds = [np.float32(bound) for bound in _BOUNDS[activation]]
        plain = f"{name}/unclipped" if bounds else name
        self._nodes.append(helper.make_node(op, inputs, [plain], name=plain, **attributes))
        if bounds:
            limits = [self._constant(f"{bound:g}", bound) for bound in bounds]
            self._nodes.append(helper.make_node("Clip", [plain, *limits], [name], name=name))

    def _kind(self, operator: Any) -> str:
        code = self._file.OperatorCodes(operator.OpcodeIndex())
        if code.CustomCode():
            return str(code.CustomCode().decode())
        return _KINDS[max(code.DeprecatedBuiltinCode(), code.BuiltinCode())]

    def _name(self, index: int) -> str:
        return str(self._graph.Tensors(index).Name().decode())

    def _shape(self, index: int) -> list[int]:
        """Channels first."""
        batch, height, width, channels = self._graph.Tensors(index).ShapeAsNumpy().tolist()
        return [batch, channels, height, width]

    def _info(self, index: int) -> ValueInfoProto:
        shape = self._shape(index)
        return helper.make_tensor_value_info(self._name(index), TensorProto.FLOAT, shape)

    def _value(self, index: int) -> np.ndarray:
        """The constant as it is stored, or as float32 where it was dequantized."""
        if index in self._dequantized:
            return self._dequantized[index]
        tensor = self._graph.Tensors(index)
        data = self._file.Buffers(tensor.Buffer())
        if tensor.Type() not in _DTYPES or not data.DataLength():
            raise ValueError(f"{self._name(index)} is not a floating-point constant")
        values = data.DataAsNumpy().view(_DTYPES[tensor.Type()])
        return np.asarray(values.reshape(tensor.ShapeAsNumpy()))

    def _stored(self, index: int, order: Sequence[int]) -> str:
        return self._constant(self._name(index), self._value(index).transpose(order))

    def _constant(self, name: str, value: np.ndarray | np.float32) -> str:
        self._initializers[name] = numpy_helper.from_array(np.asarray(value), name)
        return name


def _options(operator: Any, kind: Any) -> Any:
    table, options = operator.BuiltinOptions(), kind()
    options.Init(table.Bytes, table.Pos)
    return options


def _pads(
    large: Sequence[int], small: Sequence[int], window: Sequence[int], strides: Sequence[int]
) -> list[int]:
    """Rows and columns around `large` in which a window takes as many steps as `small` has pixels.

    TensorFlow puts the odd one below and to the right. The padding VALID comes to none.
    """
    sizes = zip(large[2:], small[2:], window, strides, strict=True)
    total = [max((steps - 1) * stride + extent - size, 0) for size, steps, extent, stride in sizes]
    return [pad // 2 for pad in total] + [pad - pad // 2 for pad in total]
