"""Operators as exports of vision and text models hold them, beyond ONNX's own test cases."""

from collections.abc import Iterator
from typing import Any

import numpy as np
import onnx

ARRAYS = (np.ndarray, np.generic)
# The operator, its inputs, the places of those that are weights, and its attributes with the number
# of its outputs where that is not the least.
Variant = tuple[str, tuple[np.ndarray | None, ...], tuple[int, ...], dict[str, Any]]


def variants(opset: int) -> Iterator[Variant]:
    """Every variant that exists at the opset, in float32."""
    for op, inputs, constant, attributes in (
        *_convolutions(),
        *_moved(),
        *_chosen(),
        *_resized(opset),
        *_reduced(opset),
        *_products(),
        *_normalised(),
        *_repeated(),
    ):
        if onnx.defs.has(op, opset):
            yield op, inputs, constant, attributes


def _x(*shape: int) -> np.ndarray:
    return np.random.default_rng(len(shape)).uniform(0.1, 0.9, shape).astype(np.float32)


def _i(*values: int) -> np.ndarray:
    return np.array(values, np.int64)


def _f(*values: float) -> np.ndarray:
    return np.array(values, np.float32)


def _convolutions() -> Iterator[Variant]:
    picture, bias = _x(1, 8, 16, 16), _x(8)
    for kernel, attributes in (
        (_x(8, 8, 3, 3), {"pads": [1] * 4}),
        (_x(8, 8, 3, 3), {"pads": [2] * 4, "dilations": [2, 2]}),
        (_x(8, 8, 3, 3), {"auto_pad": "SAME_UPPER", "strides": [2, 2]}),
        (_x(8, 8, 3, 3), {"auto_pad": "VALID"}),
        (_x(8, 1, 3, 3), {"pads": [1] * 4, "group": 8}),
        (_x(8, 2, 3, 3), {"pads": [1] * 4, "group": 4}),
    ):
        yield "Conv", (picture, kernel), (1,), attributes
        yield "Conv", (picture, kernel, bias), (1, 2), attributes
        yield "Conv", (picture, kernel, bias), (2,), attributes
        yield "Conv", (picture, kernel, bias), (), attributes
    for rank in (3, 5):
        line, kernel = _x(1, 8, *[8] * (rank - 2)), _x(8, 8, *[3] * (rank - 2))
        for group, weights in ((1, kernel), (8, _x(8, 1, *[3] * (rank - 2)))):
            yield "Conv", (line, weights, bias), (1, 2), {"group": group}
        yield "Conv", (line, kernel, bias), (1, 2), {"dilations": [2] * (rank - 2)}
        yield "ConvTranspose", (line, kernel, bias), (1, 2), {"strides": [2] * (rank - 2)}
    for extra in ({}, {"output_padding": [1, 1]}, {"pads": [1] * 4}, {"auto_pad": "SAME_LOWER"}):
        attributes = {"strides": [2, 2], **extra}
        yield "ConvTranspose", (picture, _x(8, 8, 2, 2)), (1,), attributes
        yield "ConvTranspose", (picture, _x(8, 8, 2, 2), bias), (1, 2), attributes
    yield "ConvTranspose", (picture, _x(8, 1, 2, 2), bias), (1, 2), {"group": 8}


def _moved() -> Iterator[Variant]:
    """Operators that move values about."""
    for rank in range(2, 7):
        shape = (1, 2, 3, 4, 2, 2)[:rank]
        for dtype in (np.float32, np.int32, np.int64, np.bool_, np.uint8):
            yield "Reshape", (_x(48).astype(dtype), _i(*_split(48, rank))), (1,), {}
            yield "Reshape", (_x(*_split(48, rank)).astype(dtype), _i(-1)), (1,), {}
            yield "Unsqueeze", (_x(*shape[:-1]).astype(dtype), _i(0)), (1,), {}
            yield "Squeeze", (_x(*shape).astype(dtype), _i(0)), (1,), {}
            yield "Expand", (_x(*shape).astype(dtype), _i(3, *shape[1:])), (1,), {}
            yield "Transpose", (_x(*shape).astype(dtype),), (), {"perm": [*range(rank)][::-1]}
            yield "Slice", (_x(*shape).astype(dtype), _i(0), _i(1), _i(1)), (1, 2, 3), {}
            ends = (_i(0), _i(2), _i(1), _i(2))
            yield "Slice", (_x(*shape).astype(dtype), *ends), (1, 2, 3, 4), {}
            yield "Concat", (_x(*shape).astype(dtype),) * 2, (), {"axis": 1}
            yield "Concat", (_x(*shape).astype(dtype),) * 2, (1,), {"axis": -1}
        yield "Tile", (_x(*shape), _i(*[2] * rank)), (1,), {}
        pads = _i(*[0] * (2 * rank - 1), 1)
        for mode in ("constant", "reflect", "edge", "wrap"):
            yield "Pad", (_x(*shape), pads), (1,), {"mode": mode}
        yield "Pad", (_x(*shape), pads, np.float32(1)), (1, 2), {}
        yield "Pad", (_x(*shape), _i(0, 1), np.float32(1), _i(rank - 1)), (1, 2, 3), {}
    for mode in ("DCR", "CRD"):
        yield "DepthToSpace", (_x(1, 16, 4, 4),), (), {"blocksize": 2, "mode": mode}
    backwards = (_i(-1), _i(-99), _i(1), _i(-1))
    yield "Slice", (_x(1, 3, 8, 8), *backwards), (1, 2, 3, 4), {}
    yield "Slice", (_x(1, 3, 8, 8), _i(0), _i(2)), (1, 2), {}


def _split(size: int, rank: int) -> tuple[int, ...]:
    return (*[1] * (rank - 2), size // 4, 4) if rank > 1 else (size,)


def _chosen() -> Iterator[Variant]:
    """Operators that choose: by an index, by size, by a condition."""
    for rank in range(1, 7):
        data, condition = _x(*[3] * rank), _x(*[3] * rank) > 0.5
        for index in (_i(0, 2), np.array(1, np.int64), np.array([[0, 1]], np.int32)):
            for axis in {0, rank - 1}:
                yield "Gather", (data, index), (1,), {"axis": axis}
                yield "Gather", (data, index), (), {"axis": axis}
                yield "Gather", (data, index), (0,), {"axis": axis}
        for types in (np.float32, np.int32, np.int64):
            chosen = (condition, data.astype(types), data.astype(types))
            for constant in ((), (1,), (2,), (1, 2), (0,)):
                yield "Where", chosen, constant, {}
        low, high = np.float32(0.2), np.float32(0.8)
        yield "Clip", (data, low, high), (1, 2), {}
        yield "Clip", (data, low), (1,), {}
        yield "Clip", (data, None, high), (2,), {}
        index = np.zeros((*[3] * (rank - 1), 2), np.int64)
        for axis in {0, rank - 1}:
            yield "GatherElements", (data, index), (), {"axis": axis}
            yield "GatherElements", (data, index), (1,), {"axis": axis}
            yield "ScatterElements", (data, index, data[..., :2]), (), {"axis": axis}
            yield "ScatterElements", (data, index, data[..., :2]), (1,), {"axis": axis}
        yield "GatherND", (data, _i(0)[None]), (1,), {}
        yield "GatherND", (data, _i(0)[None]), (), {}
        for constant in ((), (1,), (1, 2), (0, 1), (2,)):
            yield "ScatterND", (data, _i(1)[None], data[:1]), constant, {}
        for largest in (0, 1):
            for is_sorted in (0, 1):
                modes = {"largest": largest, "sorted": is_sorted}
                yield "TopK", (data, _i(2)), (1,), modes
        for modes in ({}, {"exclusive": 1}, {"reverse": 1}, {"exclusive": 1, "reverse": 1}):
            for types in (np.float32, np.int32, np.int64):
                last = np.array(rank - 1, np.int64)
                yield "CumSum", (data.astype(types), last), (1,), modes
    yield "Trilu", (_x(1, 4, 4), np.array(0, np.int64)), (1,), {"upper": 0}
    for values in (_f(0, 1), _i(0, 1), np.array([0, 1], np.int32)):
        for index in (_i(0, 3), np.array([0, 3], np.int32)):
            yield "OneHot", (index, np.array(5, np.int64), values), (1, 2), {"axis": -1}


def _resized(opset: int) -> Iterator[Variant]:
    for rank in (3, 4, 5):
        size = _x(1, 4, *[8] * (rank - 2))
        bigger, smaller = _f(1, 1, *[2] * (rank - 2)), _f(1, 1, *[0.5] * (rank - 2))
        for mode in ("nearest", "linear", "cubic"):
            for where in ("half_pixel", "asymmetric", "align_corners", "pytorch_half_pixel"):
                modes = {"mode": mode, "coordinate_transformation_mode": where}
                for scales in (bigger, smaller):
                    yield "Resize", (size, None, scales), (2,), modes
                sizes = _i(1, 4, *[12] * (rank - 2))
                yield "Resize", (size, None, None, sizes), (3,), modes
        for rounding in ("floor", "ceil", "round_prefer_floor", "round_prefer_ceil"):
            modes = {"nearest_mode": rounding, "coordinate_transformation_mode": "asymmetric"}
            yield "Resize", (size, None, bigger), (2,), modes
        if opset >= 18:
            for mode in ("linear", "cubic"):
                yield "Resize", (size, None, smaller), (2,), {"mode": mode, "antialias": 1}
    grid = _x(1, 4, 4, 2) * 2 - 1
    for mode in (
        ("bilinear", "nearest", "bicubic") if opset < 20 else ("linear", "nearest", "cubic")
    ):
        for padding in ("zeros", "border", "reflection"):
            for align in (0, 1):
                modes = {"mode": mode, "padding_mode": padding, "align_corners": align}
                yield "GridSample", (_x(1, 4, 8, 8), grid), (), modes
                yield "GridSample", (_x(1, 4, 8, 8), grid), (1,), modes


def _reduced(opset: int) -> Iterator[Variant]:
    names = ("Mean", "Sum", "Max", "Min", "Prod", "L1", "L2", "LogSum", "LogSumExp", "SumSquare")
    for name in names:
        as_input = name == "Sum" or opset >= 18
        for rank in range(1, 7):
            data = _x(*[3] * rank)
            for keep in (0, 1):
                for axes in {(rank - 1,), tuple(range(1, rank)) or (0,)}:
                    modes: dict[str, Any] = {"keepdims": keep}
                    if as_input:
                        yield f"Reduce{name}", (data, _i(*axes)), (1,), modes
                    else:
                        yield f"Reduce{name}", (data,), (), {**modes, "axes": axes}
    for op in ("ArgMax", "ArgMin", "Softmax", "LogSoftmax"):
        for rank in range(1, 7):
            for axis in {0, rank - 1}:
                yield op, (_x(*[3] * rank),), (), {"axis": axis}
                if op.startswith("Arg"):
                    yield op, (_x(*[3] * rank),), (), {"axis": axis, "keepdims": 0}
    for op in ("MaxPool", "AveragePool", "LpPool"):
        for rank in (3, 4, 5):
            size = [2] * (rank - 2)
            data = _x(1, 4, *[7] * (rank - 2))
            for extra in ({}, {"ceil_mode": 1}, {"dilations": size}):
                if op == "MaxPool" or "dilations" not in extra:
                    yield op, (data,), (), {"kernel_shape": size, "strides": size, **extra}
            if op == "AveragePool":
                for ceil in (0, 1):
                    modes = {"count_include_pad": 1, "ceil_mode": ceil, "pads": [1] * 2 * len(size)}
                    yield op, (data,), (), {"kernel_shape": [3] * len(size), **modes}


def _products() -> Iterator[Variant]:
    for rank in range(2, 7):
        a = _x(*[2] * (rank - 2), 4, 4)
        for constant in ((), (0,), (1,)):
            yield "MatMul", (a, a), constant, {}
        yield "MatMul", (a, _x(4, 4)), (1,), {}
    for bias in ((), (_x(4),)):
        for trans_a in (0, 1):
            for trans_b in (0, 1):
                modes = {"transA": trans_a, "transB": trans_b}
                given = (_x(4, 4), _x(4, 4), *bias)
                yield "Gemm", given, tuple(range(1, len(given))), modes
                yield "Gemm", given, tuple(range(2, len(given))), modes
                yield "Gemm", given, (), modes
    for equation, shapes in (
        ("bhqd,bhkd->bhqk", ((1, 2, 5, 4), (1, 2, 6, 4))),
        ("bhqk,bhkd->bhqd", ((1, 2, 5, 6), (1, 2, 6, 4))),
        ("bqd,bkd->bqk", ((1, 5, 4), (1, 6, 4))),
        ("bqk,bkd->bqd", ((1, 5, 6), (1, 6, 4))),
        ("nc,mc->nm", ((3, 4), (5, 4))),
        ("bqc,bchw->bqhw", ((1, 5, 4), (1, 4, 6, 6))),
        ("bchw,bqc->bqhw", ((1, 4, 6, 6), (1, 5, 4))),
        ("bhwc,hkc->bhwk", ((1, 4, 6, 8), (4, 5, 8))),
        ("bhwc,wkc->bhwk", ((1, 4, 6, 8), (6, 5, 8))),
        ("i,j->ij", ((4,), (5,))),
        ("ij,jk->ik", ((3, 4), (4, 5))),
        ("bij,bjk->bik", ((2, 3, 4), (2, 4, 5))),
        ("bij->bji", ((2, 3, 4),)),
    ):
        arrays = tuple(_x(*shape) for shape in shapes)
        yield "Einsum", arrays, (), {"equation": equation}
        if len(arrays) > 1:
            yield "Einsum", arrays, (1,), {"equation": equation}


def _normalised() -> Iterator[Variant]:
    for rank in range(2, 6):
        data, scale = _x(1, 4, *[6] * (rank - 2)), _x(4)
        yield "BatchNormalization", (data, scale, scale, scale, scale), (1, 2, 3, 4), {}
        yield "InstanceNormalization", (data, scale, scale), (1, 2), {}
        yield "GroupNormalization", (data, scale, scale), (1, 2), {"num_groups": 2}
        last = _x(data.shape[-1])
        for axis, shape in ((-1, last.shape), (1, data.shape[1:])):
            weights = _x(*shape)
            yield "LayerNormalization", (data, weights, weights), (1, 2), {"axis": axis}
            yield "LayerNormalization", (data, weights), (1,), {"axis": axis}
            yield "RMSNormalization", (data, weights), (1,), {"axis": axis}
        yield "LpNormalization", (data,), (), {"axis": -1}
        yield "LpNormalization", (data,), (), {"axis": 1}
        yield "PRelu", (data, _x(4, *[1] * (rank - 2))), (1,), {}
        yield "PRelu", (data, _x(1)), (1,), {}
    yield "LRN", (_x(1, 4, 6, 6),), (), {"size": 3}


def _repeated() -> Iterator[Variant]:
    """Recurrent layers as PyTorch exports them: 5 steps of 4 values, a state of 6."""
    for op, gates, outputs in (("LSTM", 4, 3), ("GRU", 3, 2), ("RNN", 1, 2)):
        for direction, ways in (("forward", 1), ("bidirectional", 2)):
            weights = _x(ways, gates * 6, 4), _x(ways, gates * 6, 6), _x(ways, gates * 12)
            states = (_x(ways, 1, 6),) * (outputs - 1)
            modes = {"hidden_size": 6, "direction": direction}
            modes |= {"linear_before_reset": 1} if op == "GRU" else {}
            for given in (weights, (*weights, None, *states)):
                constant = tuple(range(1, len(given) + 1))
                for count in (1, outputs):
                    yield op, (_x(5, 1, 4), *given), constant, {**modes, "outputs": count}
