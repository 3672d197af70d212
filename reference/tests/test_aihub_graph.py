"""The graph of a target computes what that of the model does, whatever the tensors are called."""

import numpy as np
import onnx
import onnxruntime as ort
from hypothesis import given, settings
from hypothesis import strategies as st

from reference.aihub import graph
from reference.tests.npu_models import FLOAT, INT64, model, node

SHAPE = (2, 3, 4, 5)
NAMES = ["a", "a_inner", "b", "copy_0", "output_0", "output_0_inner", "output_1", "output_2"]
X = np.arange(120, dtype=np.float32).reshape(SHAPE) - 60


def answers(made: onnx.ModelProto, feeds: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    onnx.checker.check_model(made)
    session = ort.InferenceSession(made.SerializeToString(), providers=["CPUExecutionProvider"])
    names = [output.name for output in session.get_outputs()]
    return dict(zip(names, session.run(None, feeds), strict=True))


@st.composite
def chains(draw: st.DrawFn) -> onnx.ModelProto:
    """Nodes that each read an earlier tensor; outputs in any order, the input among them."""
    names = draw(st.permutations(NAMES))[: draw(st.integers(1, len(NAMES)))]
    nodes, known = [], ["x"]
    for name in names:
        op = draw(st.sampled_from(["Neg", "Abs", "Exp", "Relu", "Identity"]))
        nodes.append(node(op, draw(st.sampled_from(known)), name))
        known.append(name)
    outputs = draw(st.lists(st.sampled_from(known), min_size=1, max_size=4, unique=True))
    return model(nodes, [("x", FLOAT, SHAPE)], [(name, FLOAT, SHAPE) for name in outputs])


@settings(deadline=None, max_examples=60)
@given(chains())
def test_named_outputs(made: onnx.ModelProto) -> None:
    x = X / 60
    before = list(answers(made, {"x": x}).values())
    graph.name_outputs(made, ())
    after = answers(made, {"x": x})
    assert list(after) == [f"output_{index}" for index in range(len(before))]
    for one, other in zip(before, after.values(), strict=True):
        assert one.tobytes() == other.tobytes()


@settings(deadline=None, max_examples=30)
@given(chains(), st.data())
def test_channels_last(made: onnx.ModelProto, data: st.DataObject) -> None:
    x = X / 60
    before = list(answers(made, {"x": x}).values())
    graph.name_outputs(made, ())
    names = [value.name for value in made.graph.output]
    moved = data.draw(st.lists(st.sampled_from(names), unique=True))
    graph.channels_last(made, ["x"], moved)
    assert graph.describe(made.graph.input[0])["shape"] == [2, 4, 5, 3]
    after = answers(made, {"x": x.transpose(0, 2, 3, 1)})
    for one, (name, other) in zip(before, after.items(), strict=True):
        assert (one == (other.transpose(0, 3, 1, 2) if name in moved else other)).all()


def test_truncated_integers() -> None:
    """Inside they are int64 still: a product beyond 32 bits does not overflow on its way."""
    nodes = [node("Mul", "i i", "p"), node("Div", "p i", "y")]
    made = model(nodes, [("i", INT64, (3,))], [("y", INT64, (3,))])
    graph.truncate_io(made)
    i = np.array([1, -70_000, 2**31 - 1], np.int32)
    (y,) = answers(made, {"i": i}).values()
    assert y.dtype == np.int32
    assert (y == i).all()
