"""What exporters write in several ways becomes one graph, which gives the same answers."""

import math
from collections import Counter
from collections.abc import Sequence

import numpy as np
import onnx
import onnxruntime as ort
import pytest
from onnx import TensorProto, helper, numpy_helper

from reference.npu.exporters import rewrite

RNG = np.random.default_rng(0)
Step = tuple[str, Sequence[str | float | np.ndarray], dict[str, object]]


def graph(steps: Sequence[Step], shape: Sequence[int], outs: int = 1, opset: int = 17):
    """A model of the steps on `x`, each named by its number; the last ones are its outputs."""
    nodes, weights = [], []
    for number, (op, inputs, attributes) in enumerate(steps):
        names = []
        for at, value in enumerate(inputs):
            if isinstance(value, str):
                names.append(value)
                continue
            kind = np.int64 if isinstance(value, np.ndarray) and value.dtype.kind == "i" else "f4"
            weights.append(numpy_helper.from_array(np.asarray(value, kind), f"c{number}_{at}"))
            names.append(weights[-1].name)
        ends = [f"{number}", *(f"{number}.{i}" for i in range(1, attributes.pop("outs", 1)))]
        nodes.append(helper.make_node(op, names, ends, name=f"n{number}", **attributes))
    every = [name for node in nodes for name in node.output]
    made = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info(n, TensorProto.FLOAT, None) for n in every[-outs:]],
        weights,
    )
    opsets = [helper.make_opsetid("", opset)]
    return onnx.shape_inference.infer_shapes(
        helper.make_model(made, opset_imports=opsets, ir_version=8)
    )


def rewritten(model: onnx.ModelProto) -> tuple[tuple[str, ...], Counter[str]]:
    """What was changed and what is left, after both forms have given the same answers."""
    shape = [d.dim_value for d in model.graph.input[0].type.tensor_type.shape.dim]
    x = RNG.normal(size=shape).astype(np.float32) * 2
    before = answers(model, x)
    notes = rewrite(model)
    onnx.checker.check_model(model)
    for one, other in zip(before, answers(model, x), strict=True):
        np.testing.assert_allclose(one, other, atol=2e-3)
    return notes, Counter(node.op_type for node in model.graph.node)


def answers(model: onnx.ModelProto, x: np.ndarray) -> list[np.ndarray]:
    session = ort.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    return list(session.run(None, {"x": x}))


ROOT_2, TANH = math.sqrt(2), math.sqrt(2 / math.pi)
ERF = [
    ("Div", ["x", ROOT_2], {}),
    ("Erf", ["0"], {}),
    ("Add", ["1", 1.0], {}),
    ("Mul", ["x", "2"], {}),
    ("Mul", ["3", 0.5], {}),
]
ERF_OF_A_HALF = [
    ("Mul", [0.5, "x"], {}),
    ("Mul", ["x", 1 / ROOT_2], {}),
    ("Erf", ["1"], {}),
    ("Add", [1.0, "2"], {}),
    ("Mul", ["0", "3"], {}),
]
TANH_BY_POWER = [
    ("Pow", ["x", 3.0], {}),
    ("Mul", ["0", 0.044715], {}),
    ("Add", ["x", "1"], {}),
    ("Mul", ["2", TANH], {}),
    ("Tanh", ["3"], {}),
    ("Add", ["4", 1.0], {}),
    ("Mul", ["x", 0.5], {}),
    ("Mul", ["6", "5"], {}),
]
TANH_BY_PRODUCTS = [
    ("Mul", ["x", "x"], {}),
    ("Mul", ["0", 0.044715 * TANH], {}),
    ("Add", ["1", TANH], {}),
    ("Mul", ["2", "x"], {}),
    ("Tanh", ["3"], {}),
    ("Add", ["4", 1.0], {}),
    ("Mul", ["5", "x"], {}),
    ("Div", ["6", 2.0], {}),
]


@pytest.mark.parametrize("steps", [ERF, ERF_OF_A_HALF, TANH_BY_POWER, TANH_BY_PRODUCTS])
def test_gelu_in_any_words(steps: list[Step]) -> None:
    """By what it computes: torch's, a half taken first, a power, and Horner's scheme."""
    notes, left = rewritten(graph(copied(steps), (2, 5)))
    assert notes == ("1 x GELU written out: simulated as Gelu",)
    assert left == {"Gelu": 1}


def copied(steps: Sequence[Step]) -> list[Step]:
    return [(op, list(inputs), dict(attributes)) for op, inputs, attributes in steps]


@pytest.mark.parametrize(
    ("index", "step"),
    [
        (4, ("Mul", ["3", 0.6], {})),  # another factor
        (0, ("Div", ["x", 1.5], {})),
        (2, ("Add", ["1", np.ones(5)], {})),  # a value for each channel
        (3, ("Mul", ["0", "2"], {})),
    ],
)
def test_what_is_no_gelu(index: int, step: Step) -> None:
    steps = copied(ERF)
    steps[index] = step
    assert rewritten(graph(steps, (2, 5)))[0] == ()


def norm(axes: Sequence[int] = (-1,), scale: int = 6, power: bool = True) -> list[Step]:
    return [
        ("ReduceMean", ["x"], {"axes": list(axes), "keepdims": 1}),
        ("Sub", ["x", "0"], {}),
        ("Pow", ["1", 2.0], {}) if power else ("Mul", ["1", "1"], {}),
        ("ReduceMean", ["2"], {"axes": list(axes), "keepdims": 1}),
        ("Add", ["3", 1e-5], {}),
        ("Sqrt", ["4"], {}),
        ("Div", ["1", "5"], {}),
        ("Mul", ["6", RNG.random(scale)], {}),
        ("Add", ["7", RNG.random(scale)], {}),
    ]


@pytest.mark.parametrize("power", [True, False])
@pytest.mark.parametrize("opset", [11, 17])
def test_layer_normalisation(power: bool, opset: int) -> None:
    """Older opsets have no operator for it; onnxruntime takes it there too."""
    model = graph(norm(power=power), (2, 4, 6), opset=opset)
    notes = rewrite(model)
    assert notes == ("1 x layer normalisation written out: simulated as LayerNormalization",)
    (node,) = model.graph.node
    assert node.op_type == "LayerNormalization"
    x = RNG.normal(size=(2, 4, 6)).astype(np.float32)
    np.testing.assert_allclose(answers(model, x)[0], by_hand(x, model), rtol=1e-4, atol=1e-5)


def by_hand(x: np.ndarray, model: onnx.ModelProto) -> np.ndarray:
    weights = {t.name: numpy_helper.to_array(t) for t in model.graph.initializer}
    scale, shift = (weights[name] for name in model.graph.node[0].input[1:])
    centred = x - x.mean(-1, keepdims=True)
    return np.asarray(
        centred / np.sqrt((centred**2).mean(-1, keepdims=True) + 1e-5) * scale + shift
    )


@pytest.mark.parametrize("axes", [(1,), (1, 2), (0,)])
def test_what_is_no_layer_normalisation(axes: Sequence[int]) -> None:
    assert rewritten(graph(norm(axes), (2, 4, 6)))[0] == ()


ints = lambda *values: np.array(values, np.int64)  # noqa: E731 - a name for many constants
HEADS = [("Relu", ["x"], {}), ("Reshape", ["0", ints(2, 5, 3, 4, 6)], {})]
TIMM = [
    *HEADS,
    ("Transpose", ["1"], {"perm": [2, 0, 3, 1, 4]}),
    *(("Gather", ["2", np.array(k, np.int64)], {"axis": 0}) for k in range(3)),
]
SLICED = [
    *HEADS,
    ("Transpose", ["1"], {"perm": [2, 0, 3, 1, 4]}),
    *(("Slice", ["2", ints(k), ints(k + 1), ints(0)], {}) for k in range(3)),
]
SPLIT = [*TIMM[:3], ("Split", ["2"], {"axis": 0, "outs": 3})]
TORCH = [
    ("Relu", ["x"], {}),
    ("Reshape", ["0", ints(2, 5, 3, 24)], {}),
    ("Unsqueeze", ["1", ints(0)], {}),
    ("Transpose", ["2"], {"perm": [3, 1, 2, 0, 4]}),
    ("Squeeze", ["3", ints(3)], {}),
    *(("Gather", ["4", np.array(k, np.int64)], {"axis": 0}) for k in (2, 0, 1)),
]


@pytest.mark.parametrize("steps", [TIMM, SLICED, SPLIT, TORCH])
def test_projections_are_cut_first(steps: list[Step]) -> None:
    """Whatever order the parts come in; their values are compared."""
    model = graph(copied(steps), (2, 5, 72), outs=3)
    notes, left = rewritten(model)
    assert notes == (
        "1 x projection moved about before it is cut in parts: simulated as Split first",
    )
    assert left["Split"] == 1
    assert not {"Gather", "Slice", "Squeeze"} & {*left}
    first = next(node for node in model.graph.node if node.op_type == "Split")
    assert first.input[0] == "0"


@pytest.mark.parametrize(
    "steps",
    [
        TIMM[:5],  # one part is missing
        [*TIMM[:3], ("Gather", ["2", ints(0, 1, 2)], {"axis": 0})],  # nothing is cut
        [*HEADS, ("Gather", ["1", np.array(0, np.int64)], {"axis": 2})],  # not moved before
        [
            *HEADS,
            ("Transpose", ["1"], {"perm": [4, 0, 2, 3, 1]}),
            *(("Gather", ["2", np.array(k, np.int64)], {"axis": 0}) for k in range(6)),
        ],  # columns that are no blocks
    ],
)
def test_what_is_no_projection(steps: list[Step]) -> None:
    made = len(steps) - 3 if len(steps) > 3 else 1
    assert rewritten(graph(copied(steps), (2, 5, 72), outs=made))[0] == ()


def test_static_shapes_are_folded() -> None:
    """As torch writes them where it traces."""
    steps = [
        ("Shape", ["x"], {}),
        ("Gather", ["0", np.array(0, np.int64)], {"axis": 0}),
        ("Unsqueeze", ["1", ints(0)], {}),
        ("Concat", ["2", ints(-1)], {"axis": 0}),
        ("Reshape", ["x", "3"], {}),
    ]
    notes, left = rewritten(graph(steps, (2, 3, 4)))
    assert (notes, left) == ((), {"Reshape": 1})


def test_biases_are_added_from_the_right() -> None:
    """Of products with weights; another constant stays where it is."""
    steps = [
        ("MatMul", ["x", RNG.random((4, 4))], {}),
        ("Add", [RNG.random(4), "0"], {}),
        ("Relu", ["1"], {}),
        ("Add", [RNG.random(4), "2"], {}),
    ]
    model = graph(steps, (2, 4))
    assert rewritten(model)[0] == (
        "1 x bias added to its product from the left: simulated as added from the right",
    )
    assert [node.input[0] for node in model.graph.node] == ["x", "0", "1", "c3_0"]


def guarded(mask: np.ndarray) -> list[Step]:
    return [
        ("Add", ["x", mask], {}),
        ("Softmax", ["0"], {"axis": -1}),
        ("IsNaN", ["1"], {}),
        ("Where", ["2", 0.0, "1"], {}),
    ]


HALF = np.where(np.tri(5), 0, -np.inf).reshape(
    1, 1, 5, 5
)  # as of a text: what comes later is hidden


@pytest.mark.parametrize(
    ("mask", "left"),
    [(np.zeros((1, 1, 5, 5)), {"Softmax": 1}), (HALF, {"Add": 1, "Softmax": 1})],
)
def test_guards_of_attention_go(mask: np.ndarray, left: dict[str, int]) -> None:
    """And a mask of zeros with them; one that hides something stays."""
    notes, found = rewritten(graph(guarded(mask), (1, 2, 5, 5)))
    assert notes == (
        "1 x Softmax with a mask of zeros or a guard against NaN: simulated as Softmax",
    )
    assert found == left


def test_a_guard_that_is_needed_stays() -> None:
    """The second row hides everything: without the guard it would be NaN."""
    mask = HALF.copy()
    mask[..., 1, :] = -np.inf
    notes, left = rewritten(graph(guarded(mask), (1, 2, 5, 5)))
    assert (notes, left["IsNaN"]) == ((), 1)
