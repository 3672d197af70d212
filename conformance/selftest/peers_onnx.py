"""Models written in ONNX's own text format, with weights seeded by name."""

import numpy as np
import onnx.parser
from onnx import ModelProto, numpy_helper

from conformance.selftest.models import weights
from reference.tracks import Part

END_OF_TEXT, VOCABULARY, WIDTH = 49407, 49408, 12

_DEPTH = """
<ir_version: 8, opset_import: ["": 18, "local": 1]>
depth (float[1,3,480,640] image) => (float[1,1,480,640] depth) {
    pixels = local.Standardise (image, mean, std)
    edges = local.Layer <stride = [2, 2]> (pixels, first, first_bias)
    shapes = local.Layer <stride = [2, 2]> (edges, second, second_bias)
    near = Conv <pads = [1, 1, 1, 1]> (shapes, last)
    bounded = Tanh (near)
    large = Resize <mode = "linear"> (bounded, , , size)
    raised = Add (large, ramp)
    depth = local.Unit (raised, epsilon)
}
<domain: "local", opset_import: ["": 18]>
Standardise (x, mean, std) => (y) {
    centred = Sub (x, mean)
    y = Div (centred, std)
}
<domain: "local", opset_import: ["": 18]>
Layer <stride> (x, kernel, bias) => (y) {
    sum = Conv <strides: ints = @stride, pads = [1, 1, 1, 1]> (x, kernel, bias)
    y = Relu (sum)
}
<domain: "local", opset_import: ["": 18, "local": 1]>
Unit (x, epsilon) => (y) {
    low = ReduceMin <keepdims = 1> (x)
    high = ReduceMax <keepdims = 1> (x)
    span = Sub (high, low)
    safe = Max (span, epsilon)
    y = local.Standardise (x, low, safe)
}
"""

_SEGMENTATION = """
<ir_version: 7, opset_import: ["": 13]>
channels_last (int32[2,1,77] text_input, float[1,3,1024,1024] image_input)
    => (float[1024,1024] pred_mask) {
    ids = Gather <axis = 0> (text_input, zero)
    tokens = Gather <axis = 0> (table, ids)
    is_end = Equal (ids, end)
    ended = Cast <to = 1> (is_end)
    so_far = CumSum (ended, one)
    before = Sub (so_far, ended)
    behind = Greater (before, half)
    lengthened = Unsqueeze (behind, two)
    nothing = Sub (tokens, tokens)
    live = Where (lengthened, nothing, tokens)
    sum = ReduceMean <axes = [1], keepdims = 0> (live)
    colours = MatMul (sum, to_colours)
    wanted = Reshape (colours, pair)
    pooled = AveragePool <kernel_shape = [4, 4], strides = [4, 4]> (image_input)
    pixels = Transpose <perm = [0, 2, 3, 1]> (pooled)
    centred = Sub (pixels, mean)
    scaled = Mul (centred, inverse_std)
    scores = MatMul (scaled, wanted)
    best = ArgMax <axis = 3, keepdims = 1> (scores)
    mask = Cast <to = 1> (best)
    first = Transpose <perm = [0, 3, 1, 2]> (mask)
    large = Resize <mode = "nearest", coordinate_transformation_mode = "asymmetric",
        nearest_mode = "floor"> (first, roi, quadruple)
    brightest = ReduceMax <axes = [1], keepdims = 1> (image_input)
    dark = Equal (brightest, black)
    inside = Where (dark, black, large)
    pred_mask = Squeeze (inside, leading)
}
"""

_IMAGE = """
<ir_version: 10, opset_import: ["": 20, "com.microsoft": 1]>
image_graph (float[1,3,224,224] image) => (float[1,12] embedding) {
    kernel_value = DequantizeLinear <axis = 0> (kernel, kernel_scale, kernel_zero)
    pixels_16 = com.microsoft.QuantizeLinear (image, pixel_scale, pixel_zero)
    pixels = com.microsoft.DequantizeLinear (pixels_16, pixel_scale, pixel_zero)
    features = Conv <strides = [16, 16]> (pixels, kernel_value, bias)
    active = Gelu (features)
    pooled = AveragePool <kernel_shape = [7, 7], strides = [7, 7]> (active)
    flat = Flatten (pooled)
    embedding = MatMul (flat, head)
}
"""

_TEXT = """
<ir_version: 9, opset_import: ["ai.onnx": 16]>
text_graph (int64[1,77] text) => (float[1,12] embedding) {
    tokens = Gather <axis = 0> (table, text)
    placed = Add (tokens, position)
    bounded = Tanh (placed)
    is_end = Equal (text, end)
    ended = Cast <to = 1> (is_end)
    so_far = CumSum (ended, one)
    before = Sub (so_far, ended)
    read = Less (before, half)
    live = Cast <to = 1> (read)
    rows = Unsqueeze (live, first)
    sum = MatMul (rows, bounded)
    flat = Squeeze (sum, first)
    length = ReduceL2 <axes = [1], keepdims = 1> (flat)
    embedding = Div (flat, length)
}
"""

_MEAN = np.array([123.675, 116.28, 103.53], np.float32)
_STD = np.array([58.395, 57.12, 57.375], np.float32)


def depth(part: Part) -> ModelProto:
    """Local functions, one of them called by another."""
    ramp = np.linspace(2, -2, 480, dtype=np.float32).reshape(1, 1, 480, 1)
    return parsed(
        _DEPTH,
        mean=_MEAN.reshape(1, 3, 1, 1),
        std=_STD.reshape(1, 3, 1, 1),
        first=_matrix("first", 8, 3, 3, 3),
        first_bias=weights("first_bias", 8),
        second=_matrix("second", 8, 8, 3, 3),
        second_bias=weights("second_bias", 8),
        last=_matrix("last", 1, 8, 3, 3),
        size=np.array([1, 1, 480, 640]),
        ramp=ramp,
        epsilon=np.float32(1e-6),
    )


def segmentation(part: Part) -> ModelProto:
    """Channels last inside; the text, fed first, gives each pixel the nearer of two colours."""
    return parsed(
        _SEGMENTATION,
        zero=np.int64(0),
        one=np.int64(1),
        two=np.array([2]),
        leading=np.array([0, 1]),
        pair=np.array([3, 2]),
        half=np.float32(0.5),
        black=np.float32(0),
        end=np.int32(END_OF_TEXT),
        roi=np.zeros(0, np.float32),
        quadruple=np.array([1, 1, 4, 4], np.float32),
        table=weights("table", VOCABULARY, WIDTH),
        to_colours=weights("to_colours", WIDTH, 6),
        mean=_MEAN,
        inverse_std=1 / _STD,
    )


def image(part: Part) -> ModelProto:
    """Pixels of 16 bits by way of the contrib operators, a kernel of 8 bits."""
    return parsed(
        _IMAGE,
        kernel=np.clip(40 * weights("kernel", 16, 3, 16, 16), -127, 127).astype(np.int8),
        kernel_scale=np.full(16, 1e-3, np.float32),
        kernel_zero=np.zeros(16, np.int8),
        pixel_scale=np.float32(1 / 65535),
        pixel_zero=np.uint16(0),
        bias=weights("bias", 16),
        head=_matrix("head", 64, WIDTH),
    )


def text(part: Part) -> ModelProto:
    """Token ids of 64 bits; the standard operator set under its long name."""
    return parsed(
        _TEXT,
        one=np.int64(1),
        first=np.array([1]),
        half=np.float32(0.5),
        end=np.int64(END_OF_TEXT),
        table=weights("table", VOCABULARY, WIDTH),
        position=0.3 * weights("position", 77, WIDTH),
    )


def parsed(source: str, **initializers: np.ndarray | np.generic) -> ModelProto:
    """The model that `source` describes, with its weights."""
    model = onnx.parser.parse_model(source)
    model.graph.initializer.extend(
        numpy_helper.from_array(np.asarray(value), name) for name, value in initializers.items()
    )
    return model


def _matrix(name: str, *shape: int) -> np.ndarray:
    """Weights of variance 1 / fan-in."""
    fan_in = shape[0] if len(shape) == 2 else np.prod(shape[1:])
    return weights(name, *shape) / np.float32(fan_in**0.5)
