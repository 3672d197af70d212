"""Which input takes what, and that no input beyond the contract decides a rule."""

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import ModelProto, TensorProto, helper, numpy_helper

from conformance.selftest.assess import assess_models, broken
from conformance.selftest.models import conforming
from conformance.selftest.mutants.mutant import cast, ints
from conformance.selftest.surgery import after, both, rename_input, step
from conformance.submission.feeding import feed, match_inputs
from conformance.submission.graph import Value
from reference.depth.contract import DEPTH_2025
from reference.retrieval.contract import RETRIEVAL_2026
from reference.segmentation.contract import SEGMENTATION_2025

pytestmark = pytest.mark.usefixtures("one_process")

IMAGE, TEXT = (1, 3, 1024, 1024), (2, 1, 77)
MASK = SEGMENTATION_2025.parts[0]


def matched(*inputs: tuple[str, str, tuple], raw: bool = True) -> list[str] | None:
    """The names of what is fed as picture and as text."""
    found = match_inputs(MASK, [Value(*each) for each in inputs], raw_pixels=raw)
    return None if found is None else [found[name].name for name in ("image_input", "text_input")]


@pytest.mark.parametrize("turned", [False, True])
def test_inputs_are_known_by_name_shape_or_place(turned: bool) -> None:
    def given(*pair: tuple[str, str, tuple]) -> list[str] | None:
        return matched(*(pair[::-1] if turned else pair))

    image, text = ("image_input", "float32", IMAGE), ("text_input", "int32", TEXT)
    assert given(image, text) == ["image_input", "text_input"]
    assert given(("x", "float32", IMAGE), ("y", "int64", TEXT)) == ["x", "y"]
    assert given(("image_input", "int32", TEXT), ("text_input", "float32", IMAGE)) == [
        "text_input",
        "image_input",
    ], "names exchanged"
    assert given(("x", "float32", IMAGE), ("image_input", "int32", TEXT)) == ["x", "image_input"]
    assert given(("x", "float16", IMAGE), ("y", "float32", (None, 1, 77))) == ["x", "y"]


def test_what_cannot_be_fed() -> None:
    image, text = ("x", "float32", IMAGE), ("y", "int32", TEXT)
    assert matched(image) is None
    assert matched(image, text, ("z", "float32", (1,))) is None
    assert matched(("x", "float32", (1, 1024, 1024, 3)), text) is None
    assert matched(("x", "int32", IMAGE), text) is None
    assert matched(image, ("y", "int8", TEXT)) is None, "no room for 49407"
    assert matched(image, ("y", "float16", TEXT)) is None
    assert matched(("x", "uint8", IMAGE), text) == ["x", "y"]
    assert matched(("x", "uint8", IMAGE), text, raw=False) is None, "[0, 1] would be 0 and 1"
    assert matched(("x", "float32", None), ("y", "float32", None)) == ["x", "y"], "in order"


def test_arrays_get_the_names_and_types_of_the_model() -> None:
    arrays = {"image": np.array([1.5, 300], np.float32)}
    fed = feed(arrays, {"image": Value("x", "float16", (2,))})
    assert {name: (array.dtype, array.tolist()) for name, array in fed.items()} == {
        "x": (np.float16, [1.5, 300])
    }


def test_a_wrong_name_does_not_end_the_run(tmp_path: Path) -> None:
    """One round shows the names and what else is wrong."""
    model = conforming("segmentation")
    both(
        rename_input("image_input", "x"),
        rename_input("text_input", "y"),
        after("pred_mask", step("Mul", 255.0)),
    )(model)
    verdicts = assess_models(SEGMENTATION_2025, {"model": model}, tmp_path)
    assert broken(verdicts) == {"SEG-1", "SEG-7"}
    assert verdicts["COM-8"].seen.endswith("; fed 'x' as image_input, 'y' as text_input")


def with_table(model: ModelProto, *, entries: int) -> None:
    """The pixels looked up in a table of `entries` levels, which wrong pixels lead out of."""
    table = np.linspace(0, 1, entries, dtype=np.float32)
    levels = step("Mul", float(entries - 1))
    after("image", levels, step("Round"), cast(TensorProto.INT64), step("Gather"))(model)
    node = next(node for node in model.graph.node if node.op_type == "Gather")
    node.input.insert(0, "levels")
    model.graph.initializer.append(numpy_helper.from_array(table, "levels"))


def dies_when_bright(model: ModelProto) -> None:
    """Integer division by zero, which ends the process, where a pixel is beyond 2."""
    after("image", step("Mul", "alive"))(model)
    nodes = [
        helper.make_node("ReduceMax", ["image"], ["peak"], keepdims=0),
        helper.make_node("Less", ["peak", "two"], ["dark"]),
        helper.make_node("Cast", ["dark"], ["divisor"], to=TensorProto.INT32),
        helper.make_node("Div", ["whole", "divisor"], ["quotient"]),
        helper.make_node("Cast", ["quotient"], ["alive"], to=TensorProto.FLOAT),
    ]
    for node in reversed(nodes):
        model.graph.node.insert(0, node)
    for name, value in (("two", np.float32(2)), ("whole", np.int32(1))):
        model.graph.initializer.append(numpy_helper.from_array(np.array(value), name))


@pytest.mark.parametrize("death", ["error", "crash"])
def test_probes_that_the_track_never_feeds_decide_no_rule(death: str, tmp_path: Path) -> None:
    model = conforming("retrieval", "image")
    with_table(model, entries=256) if death == "error" else dies_when_bright(model)
    onnx.checker.check_model(model)
    verdicts = assess_models(RETRIEVAL_2026, {"image": model}, tmp_path)
    assert broken(verdicts) == set()
    assert {id for id, v in verdicts.items() if v.outcome == "skip"} <= {"IMG-2"}
    assert verdicts["COM-8"].outcome == "pass"


def test_an_answer_out_of_range_to_the_wrong_scale_is_no_offence(tmp_path: Path) -> None:
    """A depth of [0, 1] for pixels in 0..255, and beyond for pixels in [0, 1]."""
    model = conforming("depth")
    after("depth", step("Mul", "gain"))(model)
    gain = [
        helper.make_node("ReduceMax", ["image"], ["peak"], keepdims=0),
        helper.make_node("Min", ["peak", "most"], ["low"]),
        helper.make_node("Equal", ["low", "peak"], ["dim"]),
        helper.make_node("Where", ["dim", "seven", "once"], ["gain"]),
    ]
    for node in reversed(gain):
        model.graph.node.insert(0, node)
    for name, value in (("most", 1.0), ("seven", 7.0), ("once", 1.0)):
        model.graph.initializer.append(numpy_helper.from_array(np.float32(value).reshape(()), name))
    after("peak", step("Add", np.float32(0.5)))(model)
    verdicts = assess_models(DEPTH_2025, {"model": model}, tmp_path)
    assert verdicts["DEP-7"].outcome == "fail", "the black picture is fed"
    assert ints(1).dtype == np.int64
