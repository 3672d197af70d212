"""The translation from TensorFlow Lite, on networks of one operator."""

from collections.abc import Mapping

import flatbuffers
import numpy as np
import onnxruntime
import pytest

pytest.importorskip("ai_edge_litert", reason="ai-edge-litert is not installed")

from ai_edge_litert import schema_py_generated as schema
from ai_edge_litert.schema_py_generated import (
    ActivationFunctionType,
    BuiltinOperator,
    BuiltinOptions,
    Padding,
    TensorType,
)

from conformance.selftest.tflite import translated

OPTIONS = {
    "ADD": "AddOptions",
    "MUL": "MulOptions",
    "CONV_2D": "Conv2DOptions",
    "DEPTHWISE_CONV_2D": "DepthwiseConv2DOptions",
    "AVERAGE_POOL_2D": "Pool2DOptions",
    "RESIZE_BILINEAR": "ResizeBilinearOptions",
}
TYPES = {"float32": TensorType.FLOAT32, "float16": TensorType.FLOAT16, "int32": TensorType.INT32}
STRIDES_2 = {"Padding": Padding.SAME, "StrideH": 2, "StrideW": 2}
RELU6 = {"FusedActivationFunction": ActivationFunctionType.RELU6}
COUNT = np.arange(16).reshape(1, 4, 4, 1)
POINTS = np.array([-1, 1, 4]).reshape(1, 1, 3, 1)


class File:
    """Writes a `.tflite` file of the tensors and operators that it is given."""

    def __init__(self) -> None:
        self._builder = flatbuffers.Builder()
        self._buffers = [self._table("Buffer")]
        self._tensors: list[int] = []
        self._codes: list[int] = []
        self._operators: list[int] = []

    def tensor(self, shape: tuple[int, ...], value: np.ndarray | None = None) -> int:
        """The number of a constant, or of float32 values that are computed."""
        if value is not None:
            data = self._builder.CreateNumpyVector(np.frombuffer(value.tobytes(), np.uint8))
            self._buffers.append(self._table("Buffer", Data=data))
        tensor = self._table(
            "Tensor",
            Name=self._builder.CreateString(f"tensor_{len(self._tensors)}"),
            Shape=self._ints(shape),
            Type=TYPES["float32" if value is None else str(value.dtype)],
            Buffer=0 if value is None else len(self._buffers) - 1,
        )
        self._tensors.append(tensor)
        return len(self._tensors) - 1

    def operator(
        self, kind: str, inputs: list[int], output: int, options: Mapping[str, int] | bytes
    ) -> None:
        fields = {"Inputs": self._ints(inputs), "Outputs": self._ints([output])}
        if isinstance(options, bytes):
            number, name = BuiltinOperator.CUSTOM, {"CustomCode": self._builder.CreateString(kind)}
            fields["CustomOptions"] = self._builder.CreateByteVector(options)
        else:
            number, name = getattr(BuiltinOperator, kind), {}
            if kind in OPTIONS:
                fields["BuiltinOptions"] = self._table(OPTIONS[kind], **options)
                fields["BuiltinOptionsType"] = getattr(BuiltinOptions, OPTIONS[kind])
        code = self._table("OperatorCode", DeprecatedBuiltinCode=number, **name)
        self._operators.append(self._table("Operator", OpcodeIndex=len(self._codes), **fields))
        self._codes.append(code)

    def content(self, source: int, output: int) -> bytes:
        graph = self._table(
            "SubGraph",
            Tensors=self._tables(self._tensors),
            Inputs=self._ints([source]),
            Outputs=self._ints([output]),
            Operators=self._tables(self._operators),
        )
        model = self._table(
            "Model",
            Version=3,
            OperatorCodes=self._tables(self._codes),
            Subgraphs=self._tables([graph]),
            Buffers=self._tables(self._buffers),
        )
        self._builder.Finish(model, b"TFL3")
        return bytes(self._builder.Output())

    def _table(self, kind: str, **fields: int) -> int:
        getattr(schema, f"{kind}Start")(self._builder)
        for name, value in fields.items():
            getattr(schema, f"{kind}Add{name}")(self._builder, value)
        offset: int = getattr(schema, f"{kind}End")(self._builder)
        return offset

    def _ints(self, values: tuple[int, ...] | list[int]) -> int:
        offset: int = self._builder.CreateNumpyVector(np.array(values, np.int32))
        return offset

    def _tables(self, offsets: list[int]) -> int:
        self._builder.StartVector(4, len(offsets), 4)
        for offset in reversed(offsets):
            self._builder.PrependUOffsetTRelative(offset)
        vector: int = self._builder.EndVector()
        return vector


def answer(
    kind: str,
    picture: np.ndarray,
    shape: tuple[int, ...],
    options: Mapping[str, int] | bytes,
    *constants: np.ndarray,
) -> np.ndarray:
    """What the operator gives for the picture (twice for ADD and MUL) and constants."""
    file = File()
    source = file.tensor(picture.shape)
    inputs = [source]
    for value in constants:
        inputs.append(file.tensor(value.shape, value))
        if value.dtype == np.float16:
            stored, inputs[-1] = inputs[-1], file.tensor(value.shape)
            file.operator("DEQUANTIZE", [stored], inputs[-1], {})
    if kind in ("ADD", "MUL"):
        inputs.append(source)
    output = file.tensor(shape)
    file.operator(kind, inputs, output, options)
    content = translated(file.content(source, output))
    session = onnxruntime.InferenceSession(content, providers=["CPUExecutionProvider"])
    fed = picture.astype(np.float32).transpose(0, 3, 1, 2)
    (found,) = session.run(None, {"tensor_0": fed})
    moved: np.ndarray = found.transpose(0, 2, 3, 1)
    assert moved.shape == shape
    return moved


@pytest.mark.parametrize("dtype", ["float16", "float32"])
def test_the_odd_padding_of_a_convolution_is_below_and_right(dtype: str) -> None:
    kernel, bias = np.ones((1, 3, 3, 1), dtype), np.array([0.5], dtype)
    found = answer("CONV_2D", COUNT, (1, 2, 2, 1), STRIDES_2, kernel, bias)
    np.testing.assert_array_equal(found[0, ..., 0], [[45.5, 39.5], [66.5, 50.5]])


def test_valid_padding_is_none_and_an_activation_bounds_the_sum() -> None:
    kernel, bias = np.ones((1, 3, 3, 1), np.float32), np.array([-40], np.float32)
    options = {"Padding": Padding.VALID, "StrideH": 2, "StrideW": 1} | RELU6
    found = answer("CONV_2D", COUNT, (1, 1, 2, 1), options, kernel, bias)
    np.testing.assert_array_equal(found.ravel(), [45 - 40, 6])


def test_a_dilated_convolution_reaches_further() -> None:
    kernel, bias = np.ones((1, 2, 2, 1), np.float32), np.zeros(1, np.float32)
    options = {"Padding": Padding.SAME, "StrideH": 1, "StrideW": 1}
    dilation = {"DilationHFactor": 2, "DilationWFactor": 3}
    found = answer("CONV_2D", COUNT, (1, 4, 4, 1), options | dilation, kernel, bias)
    np.testing.assert_array_equal(found[0, 1, :, 0], [12, 22, 10, 12])


def test_a_kernel_is_read_as_output_height_width_input() -> None:
    kernel = np.zeros((2, 1, 2, 3), np.float32)
    kernel[0, 0, 0, 1], kernel[1, 0, 1, 2] = 1, 10
    picture, bias = np.arange(6).reshape(1, 1, 2, 3), np.array([0, 0.25], np.float32)
    options = {"Padding": Padding.VALID, "StrideH": 1, "StrideW": 1}
    found = answer("CONV_2D", picture, (1, 1, 1, 2), options, kernel, bias)
    np.testing.assert_array_equal(found.ravel(), [1, 50.25])


def test_a_depthwise_kernel_is_read_as_height_width_output() -> None:
    kernel = np.array([1, 10, 100, 1000, 2, 20, 200, 2000], np.float32).reshape(1, 1, 2, 4)
    picture, bias = np.array([3, 5, 7, 9]).reshape(1, 1, 2, 2), np.zeros(4, np.float32)
    options = {"Padding": Padding.VALID, "StrideH": 1, "StrideW": 1, "DepthMultiplier": 2}
    found = answer("DEPTHWISE_CONV_2D", picture, (1, 1, 1, 4), options, kernel, bias)
    np.testing.assert_array_equal(found.ravel(), [17, 170, 2300, 23000])


def test_a_transposed_convolution_stamps_its_kernel() -> None:
    kernel = np.array([[1, 2], [3, 4]] * 2, np.float32).reshape(2, 2, 2, 1)
    kernel[1] *= 10
    picture, bias = np.array([1, 100]).reshape(1, 1, 2, 1), np.array([0, 0.5], np.float32)
    options = np.array([Padding.SAME + 1, 2, 2], "<i4").tobytes()
    found = answer("Convolution2DTransposeBias", picture, (1, 2, 4, 2), options, kernel, bias)
    np.testing.assert_array_equal(found[0, ..., 0], [[1, 2, 100, 200], [3, 4, 300, 400]])
    np.testing.assert_array_equal(found[0, ..., 1], 10 * found[0, ..., 0] + 0.5)


def test_the_odd_padding_of_a_transposed_convolution_is_below_and_right() -> None:
    kernel = np.arange(1, 7, dtype=np.float32).reshape(1, 2, 3, 1)
    picture, bias = np.array([1, 100]).reshape(1, 1, 2, 1), np.zeros(1, np.float32)
    options = np.array([Padding.SAME + 1, 2, 1], "<i4").tobytes()
    found = answer("Convolution2DTransposeBias", picture, (1, 1, 4, 1), options, kernel, bias)
    np.testing.assert_array_equal(found.ravel(), [1, 2, 103, 200])


def test_an_average_is_of_the_pixels_alone() -> None:
    window = {"FilterHeight": 1, "FilterWidth": 3}
    options = {"Padding": Padding.SAME, "StrideH": 1, "StrideW": 2} | window | RELU6
    found = answer("AVERAGE_POOL_2D", COUNT, (1, 4, 2, 1), options)
    np.testing.assert_array_equal(found[0, ..., 0], [[1, 2.5], [5, 6], [6, 6], [6, 6]])


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({}, [0, 3, 6, 6]),
        ({"HalfPixelCenters": True}, [0, 1.5, 4.5, 6]),
        ({"AlignCorners": True}, [0, 2, 4, 6]),
    ],
)
def test_coordinates_of_a_resize(options: dict[str, int], expected: list[float]) -> None:
    picture, size = np.array([0, 6]).reshape(1, 1, 2, 1), np.array([1, 4], np.int32)
    found = answer("RESIZE_BILINEAR", picture, (1, 1, 4, 1), options, size)
    np.testing.assert_allclose(found.ravel(), expected, rtol=1e-6)


@pytest.mark.parametrize(
    ("kind", "activation", "expected"),
    [
        ("ADD", "NONE", [-2, 2, 8]),
        ("ADD", "RELU", [0, 2, 8]),
        ("ADD", "RELU6", [0, 2, 6]),
        ("MUL", "NONE", [1, 1, 16]),
        ("MUL", "RELU6", [1, 1, 6]),
    ],
)
def test_fused_activations(kind: str, activation: str, expected: list[float]) -> None:
    options = {"FusedActivationFunction": getattr(ActivationFunctionType, activation)}
    found = answer(kind, POINTS, POINTS.shape, options)
    np.testing.assert_array_equal(found.ravel(), expected)


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        ("RELU", [0, 1, 4]),
        ("LOGISTIC", [0.26894142, 0.73105858, 0.98201379]),
        ("HARD_SWISH", [-1 / 3, 2 / 3, 4]),
    ],
)
def test_activations(kind: str, expected: list[float]) -> None:
    found = answer(kind, POINTS, POINTS.shape, {})
    np.testing.assert_allclose(found.ravel(), expected, rtol=1e-6)


def test_what_is_not_known_is_named() -> None:
    with pytest.raises(ValueError, match="operator ELU of tensor_1 is not translated"):
        answer("ELU", POINTS, POINTS.shape, {})
    with pytest.raises(ValueError, match="operator MaxUnpooling2D of tensor_1 is not translated"):
        answer("MaxUnpooling2D", POINTS, POINTS.shape, b"")
    with pytest.raises(ValueError, match="fused activation 4 of tensor_1 is not translated"):
        answer("ADD", POINTS, POINTS.shape, {"FusedActivationFunction": 4})


def test_a_kernel_must_be_a_floating_point_constant() -> None:
    kernel, bias = np.ones((1, 1, 1, 1), np.int32), np.zeros(1, np.float32)
    with pytest.raises(ValueError, match="tensor_1 is not a floating-point constant"):
        answer("CONV_2D", COUNT, COUNT.shape, STRIDES_2, kernel, bias)
