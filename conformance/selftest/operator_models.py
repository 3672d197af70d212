"""Small models of one operator each, in many variants: what the table of operators is made from.

They are ONNX's own test cases, every operator spread over ranks and types, and what exports of the
tracks hold (`operator_variants.py`). Inputs of a model are float32, int32 or int64 and its outputs
float32, as the tracks have them: other types exist inside.
"""

import warnings
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import onnx
import onnxruntime as ort
from onnx import ModelProto, NodeProto, TensorProto, helper, numpy_helper
from onnx.defs import OpSchema

from conformance.selftest.operator_variants import ARRAYS, variants
from conformance.submission.hazards import QDQ

FLOAT = TensorProto.FLOAT
_FLOATS = {FLOAT, TensorProto.FLOAT16}
NODE = "node"  # the name of the operator in question
OPSETS = (17, 23)
_PLAIN = {np.dtype(name) for name in ("float32", "int32", "int64")}
_TYPES = ("float32", "float16", "int32", "int64", "bool", "uint8", "int8")
_ONNX = {"float32": "tensor(float)"}
_MOST_RANK = 6
# Of training, at random, or with a crash for each test case: none is in a model to submit. Of QDQ
# the neighbours decide.
_LEFT_OUT = {
    *QDQ,
    *("NegativeLogLikelihoodLoss", "SoftmaxCrossEntropyLoss", "Bernoulli", "RandomNormalLike"),
    *("RandomUniformLike", "STFT", "MelWeightMatrix", "OptionalGetElement"),
    "OptionalHasElement",
}


@dataclass(frozen=True)
class Operator:
    """One operator; its inputs are arrays, of which those at the places `constant` are weights."""

    node: NodeProto
    inputs: tuple[np.ndarray | None, ...]
    constant: frozenset[int]
    opset: int


def operators(only: Iterable[str] = ()) -> Iterator[Operator]:
    """Every variant, of the operators in `only` if any are named."""
    chosen = set(only)
    for opset in OPSETS:
        for source in (written, _cases, _spread):
            for one in source(opset):
                op = one.node.op_type
                if op in chosen or (not chosen and op not in _LEFT_OUT and _is_typical(one)):
                    yield one


def _is_typical(one: Operator) -> bool:
    """Integers of five dimensions and more fail where they are cast, ahead of the operator."""
    arrays = [array for array in one.inputs if array is not None]
    floats = any(array.dtype.kind == "f" for array in arrays)
    return floats or max(array.ndim for array in arrays) <= 4


def as_model(one: Operator) -> ModelProto | None:
    """The operator as a model, its node called `node`; None where the host cannot run it."""
    feeds: dict[str, np.ndarray] = {}
    weights, before = [], []
    node = NodeProto()
    node.CopyFrom(one.node)
    node.name = NODE
    for place, array in enumerate(one.inputs):
        name = node.input[place] = f"x{place}" if array is not None else ""
        if array is None:
            continue
        if place in one.constant:
            weights.append(numpy_helper.from_array(array, name))
        elif array.dtype in _PLAIN:
            feeds[name] = array
        else:
            feeds[name], node.input[place] = array.astype(np.float32), f"{name}_cast"
            to = helper.np_dtype_to_tensor_dtype(array.dtype)
            before.append(helper.make_node("Cast", [name], [node.input[place]], name, to=to))
    node.output[:] = [f"y{place}" if name else "" for place, name in enumerate(node.output)]
    given = [name for name in node.output if name]
    after = [helper.make_node("Cast", [y], [f"{y}_float"], y, to=FLOAT) for y in given]
    graph = helper.make_graph(
        [*before, node, *after],
        "graph",
        [_info(name, array) for name, array in feeds.items()],
        [helper.make_empty_tensor_value_info(f"{y}_float") for y in given],
        weights,
    )
    opsets = [helper.make_opsetid("", one.opset)]
    return _checked(helper.make_model(graph, opset_imports=opsets, ir_version=10), feeds)


def _checked(model: ModelProto, feeds: dict[str, np.ndarray]) -> ModelProto | None:
    """The model with its shapes, where all are fixed and the host runs it."""
    options = ort.SessionOptions()
    options.log_severity_level = 4
    options.intra_op_num_threads = 1
    try:
        model = onnx.shape_inference.infer_shapes(model, strict_mode=True, data_prop=True)
        data = model.SerializeToString()
        session = ort.InferenceSession(data, options, providers=["CPUExecutionProvider"])
        session.run(None, feeds)
    except Exception:  # onnxruntime's own classes share no other base
        return None
    inner = [value.type.tensor_type for value in model.graph.value_info]
    if any(len(each.shape.dim) > 4 and each.elem_type not in _FLOATS for each in inner):
        return None  # the compiler fails to cast it
    shapes = [output.type.tensor_type.shape for output in model.graph.output]
    fixed = all(dim.dim_value > 0 for shape in shapes for dim in shape.dim)
    return model if fixed and feeds else None


def _info(name: str, array: np.ndarray) -> onnx.ValueInfoProto:
    elem = helper.np_dtype_to_tensor_dtype(array.dtype)
    return helper.make_tensor_value_info(name, elem, array.shape)


def written(opset: int) -> Iterator[Operator]:
    """The variants of `operator_variants.py`, in float32 and float16."""
    for op, inputs, constant, attributes in variants(opset):
        names = ["" if array is None else "x" for array in inputs]
        schema = onnx.defs.get_schema(op, opset)
        outputs = ["y"] * (attributes.pop("outputs", 0) or max(schema.min_output, 1))
        node = helper.make_node(op, names, outputs, **attributes)
        one = Operator(node, inputs, frozenset(constant), opset)
        yield one
        half = tuple(
            array.astype(np.float16)
            if array is not None
            and array.dtype == np.float32
            and _variable(schema, place) != _ONNX["float32"]
            else array
            for place, array in enumerate(inputs)
        )
        yield replace(one, inputs=half)


def _cases(opset: int) -> Iterator[Operator]:
    """ONNX's own test cases, with all but the first input as weights, some of them, and none."""
    from onnx.backend.test.case.node import collect_testcases

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        cases = collect_testcases()
    for case in cases:
        nodes = case.model.graph.node
        schema = _schema(nodes[0].op_type, opset) if len(nodes) == 1 else None
        if schema is None or nodes[0].domain:
            continue
        arrays = iter(case.data_sets[0][0])
        inputs = tuple(next(arrays, None) if name else None for name in nodes[0].input)
        if not all(a is None or isinstance(a, ARRAYS) for a in inputs):
            continue
        inputs = tuple(None if a is None else np.asarray(a) for a in inputs)
        if any(a is not None and a.dtype.name not in _TYPES for a in inputs):
            continue
        later = [place for place, array in enumerate(inputs) if place and array is not None]
        other = [place for place in later if _variable(schema, place) != _variable(schema, 0)]
        for constant in {frozenset(later), frozenset(other), frozenset[int]()}:
            yield Operator(nodes[0], inputs, constant, opset)


def _spread(opset: int) -> Iterator[Operator]:
    """Every operator on tensors of one shape: float32 in each rank, other types in rank 4."""
    for name in sorted({schema.name for schema in onnx.defs.get_all_schemas()}):
        schema = _schema(name, opset)
        if schema is None or not schema.max_input:
            continue
        ranks = [("float32", rank) for rank in range(1, _MOST_RANK + 1)]
        for dtype, rank in [*ranks, *((dtype, 4) for dtype in _TYPES[1:])]:
            count = 2 if schema.max_input > 64 else max(schema.min_input, 1)
            types = [_type(schema, place, dtype) for place in range(count)]
            if types[0] != dtype or not all(types):
                continue
            inputs = tuple(_filled(kind, rank) for kind in types if kind)
            for attributes in _attributes(schema, rank):
                node = helper.make_node(name, ["x"] * count, ["y"], **attributes)
                for constant in {(), tuple(range(1, count)), tuple(range(count - 1))}:
                    yield Operator(node, inputs, frozenset(constant), opset)


def _attributes(schema: OpSchema, rank: int) -> Iterator[dict[str, Any]]:
    """The attributes that must be given."""
    numbers = {"INT": 1, "FLOAT": 1.0, "INTS": [1] * max(rank - 2, 1)}
    needed = {
        name: numbers.get(str(attribute.type).rpartition(".")[2], "")
        for name, attribute in schema.attributes.items()
        if attribute.required
    }
    if "to" in needed:
        for dtype in _TYPES:
            yield {"to": helper.np_dtype_to_tensor_dtype(np.dtype(dtype))}
    else:
        yield needed


def _schema(op: str, opset: int) -> OpSchema | None:
    if not onnx.defs.has(op, opset):
        return None
    schema = onnx.defs.get_schema(op, opset)
    return None if schema.deprecated else schema


def _variable(schema: OpSchema, place: int) -> str:
    return schema.inputs[min(place, len(schema.inputs) - 1)].type_str


def _type(schema: OpSchema, place: int, dtype: str) -> str | None:
    allowed = schema.inputs[min(place, len(schema.inputs) - 1)].types
    wanted = (dtype, "int64", "float32", "bool")
    return next((t for t in wanted if _ONNX.get(t, f"tensor({t})") in allowed), None)


def _filled(dtype: str, rank: int) -> np.ndarray:
    shape = (2,) * rank
    if dtype.startswith("float"):
        return np.random.default_rng(rank).uniform(0.1, 0.9, shape).astype(dtype)
    return np.ones(shape, dtype)
