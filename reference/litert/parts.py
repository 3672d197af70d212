"""Takes a compiled TFLite file apart: what the NPU runs, and what is left to the CPU.

It runs in the child process.
"""

import itertools
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from reference.litert.network import DISPATCH, Network, Operator, open_file, read_network


def take_apart(compiled: Path, folder: Path) -> list[dict[str, Any]]:
    """Writes the parts of the main graph into `folder`; the parts, in the order in which they run.

    A part has `npu`, the number of its `operators`, its `file`, a context binary or a TFLite file,
    the tensors that are its `inputs` and `outputs`, by number, and, where the NPU runs it, the name
    of its `graph` in the binary. Raises ValueError for a file that is not the plugin's.
    """
    network = read_network(compiled)
    with open_file(compiled) as (content, model):
        graph = model.Subgraphs(0)
        binaries: dict[tuple[int, int], str] = {}
        parts = []
        for index, (first, operators) in enumerate(_runs(network.operators)):
            if operators[0].kind == DISPATCH:
                name, place = _bytecode(graph.Operators(first))
                if place not in binaries:
                    binaries[place] = f"npu_{len(binaries)}.bin"
                    code = content[place[0] : sum(place)]
                    if len(code) != place[1]:
                        raise ValueError("its bytecode is cut short")
                    (folder / binaries[place]).write_bytes(code)
                (operator,) = operators
                inputs, outputs = operator.inputs, operator.outputs
                file, graph_name = binaries[place], name
            else:
                file, graph_name = f"cpu_{index}.tflite", ""
                inputs, outputs = _ends(network, first, operators, _constants(model, graph))
                cut = _cut(content, first, len(operators), inputs, outputs)
                (folder / file).write_bytes(cut)
            parts.append(
                {
                    "npu": bool(graph_name),
                    "operators": len(operators),
                    "file": file,
                    "inputs": inputs,
                    "outputs": outputs,
                    "graph": graph_name,
                }
            )
        return parts


def _runs(operators: Sequence[Operator]) -> Iterator[tuple[int, list[Operator]]]:
    """What the NPU runs one by one, and between that the longest runs of what the CPU does."""

    def key(pair: tuple[int, Operator]) -> int:
        index, operator = pair
        return index if operator.kind == DISPATCH else -1

    for _, group in itertools.groupby(enumerate(operators), key):
        pairs = list(group)
        yield pairs[0][0], [operator for _, operator in pairs]


def _bytecode(operator: Any) -> tuple[str, tuple[int, int]]:
    """The name of an NPU graph, and where in the file its binary begins and how long it is."""
    from flatbuffers import flexbuffers

    options = flexbuffers.Loads(bytes(operator.CustomOptionsAsNumpy()))
    place = int(options["bytecode_offset"]), int(options["bytecode_size"])
    return str(options["name"]), place


def _constants(model: Any, graph: Any) -> set[int]:
    """The tensors that the file has the values of."""
    tensors = range(graph.TensorsLength())
    return {i for i in tensors if model.Buffers(graph.Tensors(i).Buffer()).DataLength()}


def _ends(
    network: Network, first: int, operators: Sequence[Operator], constants: set[int]
) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """The tensors that a run of operators takes from outside, and those that are taken from it."""
    made = [tensor for operator in operators for tensor in operator.outputs]
    taken = [tensor for operator in operators for tensor in operator.inputs if tensor >= 0]
    later = {t for each in network.operators[first + len(operators) :] for t in each.inputs}
    later |= {value.index for value in network.outputs}
    inputs = dict.fromkeys(t for t in taken if t not in made and t not in constants)
    return tuple(inputs), tuple(dict.fromkeys(tensor for tensor in made if tensor in later))


def _cut(
    content: Any, first: int, count: int, inputs: Sequence[int], outputs: Sequence[int]
) -> bytes:
    """A TFLite file of `count` operators from the number `first` on, without a signature.

    Its inputs and outputs are called by the numbers of their tensors: names may come twice.
    """
    import flatbuffers
    from ai_edge_litert import schema_py_generated as schema

    model = schema.ModelT.InitFromPackedBuf(content, 0)
    graph = model.subgraphs[0]
    graph.operators = graph.operators[first : first + count]
    graph.inputs, graph.outputs = list(inputs), list(outputs)
    for index in (*inputs, *outputs):
        graph.tensors[index].name = str(index).encode()
    model.signatureDefs, model.metadata, model.metadataBuffer = None, None, None
    builder = flatbuffers.Builder(1 << 20)
    builder.Finish(model.Pack(builder), b"TFL3")
    return bytes(builder.Output())
