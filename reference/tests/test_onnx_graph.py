"""Names in a graph whose If reads, makes and returns tensors, and weights of every kind."""

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from reference.onnx_graph import graphs, names_in, rename, unused


def model() -> onnx.GraphProto:
    def value(name: str) -> onnx.ValueInfoProto:
        return helper.make_tensor_value_info(name, TensorProto.FLOAT, [2])

    weight = numpy_helper.from_array(np.ones(2, np.float32), "weight")
    branch = helper.make_graph(
        [helper.make_node("Add", ["x", "weight"], ["made"])], "branch", [], [value("made")]
    )
    node = helper.make_node("If", ["flag"], ["y"], then_branch=branch, else_branch=branch)
    graph = helper.make_graph([node], "main", [value("x")], [value("y")], [weight])
    values = numpy_helper.from_array(np.ones(1, np.float32), "sparse")
    places = numpy_helper.from_array(np.zeros(1, np.int64), "places")
    graph.sparse_initializer.append(helper.make_sparse_tensor(values, places, [2]))
    graph.quantization_annotation.add(tensor_name="x")
    return graph


def test_every_place_is_renamed() -> None:
    graph, inner = model(), 2
    assert len(list(graphs(graph))) == 1 + inner
    names = {"x": "X", "weight": "W", "made": "M", "sparse": "S", "y": "Y"}
    rename(graph, names, ends=True)
    assert not set(names_in(graph)) & names.keys()
    assert graph.input[0].name == "X"
    assert graph.output[0].name == "Y"
    assert graph.quantization_annotation[0].tensor_name == "X"
    assert [list(each.node[0].input) for each in list(graphs(graph))[1:]] == [["X", "W"]] * inner
    assert [each.output[0].name for each in graphs(graph)] == ["Y", "M", "M"]


def test_the_ends_may_stay() -> None:
    """Those of the graph itself; a branch's are inner tensors."""
    graph = model()
    rename(graph, {"x": "X", "y": "Y", "made": "M"}, ends=False)
    assert (graph.input[0].name, graph.output[0].name) == ("x", "y")
    assert list(graph.node[0].output) == ["Y"]
    assert [each.output[0].name for each in list(graphs(graph))[1:]] == ["M", "M"]


def test_names_that_are_not_there() -> None:
    graph = model()
    assert unused(graph, "new") == "new"
    assert unused(graph, "made") == "made_"
    assert unused(graph, "sparse") == "sparse_"
