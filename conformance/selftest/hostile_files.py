"""ONNX files that are made to harm whoever reads them, small as files."""

from collections.abc import Callable
from itertools import pairwise

import numpy as np
from onnx import AttributeProto, ModelProto, NodeProto, TensorProto, helper, numpy_helper

FLOAT = TensorProto.FLOAT
_OPSETS = [helper.make_opsetid("", 17), helper.make_opsetid("local", 1)]


def model(
    nodes: list[NodeProto], functions: list = (), weights: list[TensorProto] = ()
) -> ModelProto:
    """Four numbers `x` to `y` by way of `nodes`."""
    given = helper.make_tensor_value_info("x", FLOAT, [1, 4])
    made = helper.make_tensor_value_info("y", FLOAT, None)
    graph = helper.make_graph(nodes, "g", [given], [made], list(weights))
    return helper.make_model(graph, functions=functions, opset_imports=_OPSETS, ir_version=8)


def function(name: str, nodes: list[NodeProto]):
    """`b` of `a`."""
    return helper.make_function("local", name, ["a"], ["b"], nodes, _OPSETS)


def call(name: str, given: str = "a", made: str = "b") -> NodeProto:
    return helper.make_node(name, [given], [made], domain="local")


def doubling(times: int) -> ModelProto:
    """Each function is two of the one before: 2^times operators."""
    functions = [function("F0", [helper.make_node("Relu", ["a"], ["b"])])]
    for i in range(times):
        functions.append(function(f"F{i + 1}", [call(f"F{i}", "a", "c"), call(f"F{i}", "c", "b")]))
    return model([call(f"F{times}", "x", "y")], functions)


def recursive(*names: str) -> ModelProto:
    """Functions that call each other in a circle, the last from inside a branch."""
    functions = [function(a, [call(b)]) for a, b in pairwise(names)]
    made = helper.make_tensor_value_info("h", FLOAT, None)
    branch = helper.make_graph([call(names[0], "a", "h")], "branch", [], [made])
    choice = helper.make_node("If", ["a"], ["b"], then_branch=branch, else_branch=branch)
    return model([call(names[0], "x", "y")], [*functions, function(names[-1], [choice])])


def too_many(what: str) -> ModelProto:
    """A function of one input and one output that is called with more."""
    given, made = (["x"] * 3, ["y"]) if what == "inputs" else (["x"], ["y", "z"])
    relu = function("R", [helper.make_node("Relu", ["a"], ["b"])])
    return model([helper.make_node("R", given, made, domain="local")], [relu])


def stray_reference(op: str, name: str, kind: int) -> ModelProto:
    """An attribute that refers to one of a function, outside of any."""
    node = helper.make_node(op, ["x"] if op != "Constant" else [], ["y"])
    node.attribute.append(AttributeProto(name=name, ref_attr_name="outer", type=kind))
    return model([node])


def doubling_shape(times: int) -> ModelProto:
    """A shape that doubles its length at every Concat, for whoever follows shapes."""
    nodes = [helper.make_node("Shape", ["x"], ["s0"])]
    nodes += [
        helper.make_node("Concat", [f"s{i}", f"s{i}"], [f"s{i + 1}"], axis=0) for i in range(times)
    ]
    return model([*nodes, helper.make_node("ConstantOfShape", [f"s{times}"], ["y"])])


def nested(depth: int) -> ModelProto:
    """Branches inside branches."""
    node = plain = helper.make_node("Relu", ["x"], ["y"])
    made = helper.make_tensor_value_info("y", FLOAT, None)
    other = helper.make_graph([plain], "other", [], [made])
    for _ in range(depth):
        branch = helper.make_graph([node], "branch", [], [made])
        node = helper.make_node("If", ["x"], ["y"], then_branch=branch, else_branch=other)
    return model([node])


def crowd(count: int) -> bytes:
    """`count` empty nodes: two bytes each in the file, hundreds in memory."""
    start = model([helper.make_node("Relu", ["x"], ["y"])])
    graph = start.graph.SerializeToString() + b"\x0a\x00" * count
    start.ClearField("graph")
    size, head = len(graph), bytearray(b"\x3a")
    while size > 127:
        head.append(size & 127 | 128)
        size >>= 7
    return start.SerializeToString() + bytes(head) + bytes([size]) + graph


def outside(location: str, **entries: str) -> ModelProto:
    """A weight of 16 bytes that lies elsewhere."""
    weight = numpy_helper.from_array(np.ones(4, np.float32), "w")
    weight.ClearField("raw_data")
    weight.data_location = TensorProto.EXTERNAL
    for key, value in {"location": location, **entries}.items():
        weight.external_data.add(key=key, value=value)
    return model([helper.make_node("Add", ["x", "w"], ["y"])], weights=[weight])


def odd_weight(*dims: int) -> ModelProto:
    """A weight of impossible sizes, with data."""
    weight = TensorProto(name="w", data_type=FLOAT, dims=dims, raw_data=bytes(64))
    return model([helper.make_node("Add", ["x", "w"], ["y"])], weights=[weight])


def of_type(kind: str) -> ModelProto:
    """An output that is no tensor."""
    made = model([helper.make_node("Identity", ["x"], ["y"])])
    tensor = helper.make_tensor_type_proto(FLOAT, [1, 4])
    make: Callable = getattr(helper, f"make_{kind}_type_proto")
    made.graph.output[0].type.CopyFrom(make(tensor))
    return made


REFUSED = {
    "functions that double": (doubling(25), "come to more than 250,000 operators"),
    "functions that double 90 times": (doubling(90), "come to more than 250,000 operators"),
    "a function that calls itself": (recursive("R"), "local function local::R of m.onnx calls"),
    "functions in a circle": (recursive("R", "S", "T"), "calls itself"),
    "a chain of functions": (
        model(
            [call("F200", "x", "y")],
            [function(f"F{i + 1}", [call(f"F{i}")]) for i in range(200)]
            + [function("F0", [helper.make_node("Relu", ["a"], ["b"])])],
        ),
        "call each other 100 deep",
    ),
    "too many inputs": (too_many("inputs"), "is called with 3 inputs, and it has 1"),
    "too many outputs": (too_many("outputs"), "is called with 2 outputs, and it has 1"),
    "one function twice": (
        model([call("R", "x", "y")], [function("R", [call("R")]), function("R", [])]),
        "cannot be written out",
    ),
    "a crowd": (crowd(300_000), "holds 300,001 operators and tensors"),
    "long names": (model([call("x" * 2**25, "x", "y")]), "more than 32 MiB of names"),
}
READ = {
    "a stray reference": stray_reference("Softmax", "axis", AttributeProto.INT),
    "a stray reference to a tensor": stray_reference("Constant", "value", AttributeProto.TENSOR),
    "a stray reference to numbers": stray_reference("Constant", "value_ints", AttributeProto.INTS),
    "a function called without inputs": model(
        [helper.make_node("R", [], ["y"], domain="local")],
        [function("R", [helper.make_node("Relu", ["a"], ["b"])])],
    ),
    "a shape that doubles": doubling_shape(14),
    "branches in branches": nested(25),
    "NUL in a location": outside("w\0.bin"),
    "a location of 5000 characters": outside("w" * 5000),
    "a negative offset": outside("w.bin", offset="-4096"),
    "negative sizes": odd_weight(-1),
    "sizes beyond 64 bits": odd_weight(2**62, 2**62),
    "a sequence": of_type("sequence"),
    "an optional": of_type("optional"),
    "a constant without a value": model([helper.make_node("Constant", [], ["y"])]),
    "an operator without a name": model([NodeProto()]),
    "a weight without a name": model(
        [helper.make_node("Relu", ["x"], ["y"])], weights=[TensorProto(), TensorProto()]
    ),
}
