"""Context binaries by themselves: what one says of its graphs, and an ONNX file that stands for it.

`describe` reads with Qualcomm's own library, in the child process.
"""

import ctypes
from ctypes import POINTER, c_uint32, c_uint64, c_void_p
from pathlib import Path
from typing import Any

import numpy as np

from reference.errors import ToolError
from reference.npu.qnn_types import Graph, Info, Provider, Tensor

_DTYPES = {
    0x0008: "int8",
    0x0016: "int16",
    0x0032: "int32",
    0x0064: "int64",
    0x0108: "uint8",
    0x0116: "uint16",
    0x0216: "float16",
    0x0232: "float32",
    0x0308: "int8",
    0x0316: "int16",
    0x0332: "int32",
    0x0408: "uint8",
    0x0416: "uint16",
    0x0508: "bool",
}
_INFO_VERSION = _GRAPH_VERSION = 3
_TENSOR_VERSIONS = (1, 2)
_INPUT, _OUTPUT = 0, 1  # kinds of tensor
_CREATE, _GET_METADATA = 0, 2  # places in the table of functions
_QUANTISED, _SCALE_OFFSET = 1, 0


class UnknownVersion(ValueError):  # noqa: N818 - no error
    """A context binary whose layout is that of another toolchain."""


def describe(binary: Path) -> dict[str, Any]:
    """What the context binary at `binary` says of itself: `soc_model`, `qairt`, and its `graphs`.

    A graph has a `name`, and `inputs` and `outputs` with `name`, `shape`, `dtype` and, where they
    are quantised, `scale` and `zero_point`. Raises ValueError for what is no context binary, and
    UnknownVersion. A hostile one may crash the process.
    """
    import onnxruntime_qnn

    htp = Path(onnxruntime_qnn.get_qnn_htp_path())
    library = ctypes.CDLL(str(htp.with_name(htp.name.replace("Htp", "System"))))
    providers, count = POINTER(POINTER(Provider))(), c_uint32()
    if library.QnnSystemInterface_getProviders(ctypes.byref(providers), ctypes.byref(count)):
        raise ToolError("the system library of QAIRT has no interface")
    functions = providers[0].contents.functions
    create = ctypes.CFUNCTYPE(c_uint64, c_void_p)(functions[_CREATE])
    get = ctypes.CFUNCTYPE(c_uint64, c_void_p, c_void_p, c_uint64, c_void_p)(
        functions[_GET_METADATA]
    )
    handle, info = c_void_p(), POINTER(Info)()
    if not binary.stat().st_size:
        raise ValueError("it is empty")
    data = np.memmap(binary, np.uint8, mode="r")
    create(ctypes.byref(handle))
    if get(handle, data.ctypes.data, len(data), ctypes.byref(info)):
        raise ValueError("it is not a QNN context binary, or was cut short")
    found = info.contents.fields
    if info.contents.version != _INFO_VERSION:
        raise UnknownVersion(
            f"it is of version {info.contents.version}, and version {_INFO_VERSION} is read"
        )
    return {
        "soc_model": found.soc_model,
        "qairt": found.build.decode(),
        "graphs": [_graph(found.graphs[index]) for index in range(found.graph_count)],
    }


def _graph(graph: Graph) -> dict[str, Any]:
    _expect("graph", graph.version, (_GRAPH_VERSION,))
    fields = graph.fields
    return {
        "name": fields.name.decode(),
        "inputs": [_tensor(fields.inputs[i], _INPUT) for i in range(fields.input_count)],
        "outputs": [_tensor(fields.outputs[i], _OUTPUT) for i in range(fields.output_count)],
    }


def _tensor(tensor: Tensor, kind: int) -> dict[str, Any]:
    _expect("tensor", tensor.version, _TENSOR_VERSIONS)
    fields = tensor.fields
    _expect("kind of tensor", fields.type, (kind,))
    name = fields.name.decode()
    if fields.dtype not in _DTYPES:
        raise ValueError(f"its tensor {name!r} is of the unknown type {fields.dtype:#06x}")
    found: dict[str, Any] = {
        "name": name,
        "shape": fields.dimensions[: fields.rank],
        "dtype": _DTYPES[fields.dtype],
    }
    how = fields.quantisation
    if (how.definition, how.encoding) == (_QUANTISED, _SCALE_OFFSET):
        found |= {"scale": how.scale, "zero_point": -how.offset}
    return found


def _expect(what: str, seen: int, known: tuple[int, ...]) -> None:
    """Of an array the library tells the length alone: with another stride all after the first
    element is noise, which is noticed here, before a pointer of it is followed.
    """
    if seen not in known:
        raise ToolError(f"QAIRT's system library tells a {what} in a layout that is not known")


def partition_name(context: Path) -> str:
    """The name, in the binary, of the graph that the ONNX file `context` stands for."""
    import onnx

    node = next(n for n in onnx.load(context).graph.node if n.op_type == "EPContext")
    attributes = {entry.name: entry for entry in node.attribute}
    return str(attributes["partition_name"].s.decode())


def write_context(graph: dict[str, Any], binary: str, path: Path) -> Path:
    """Writes an ONNX file that stands for one graph of `describe`; returns `path`.

    `binary` is the name of the context binary, which must lie beside it.
    """
    import onnx

    def values(tensors: list[dict[str, Any]]) -> list[Any]:
        return [
            onnx.helper.make_tensor_value_info(
                tensor["name"],
                onnx.helper.np_dtype_to_tensor_dtype(np.dtype(tensor["dtype"])),
                tensor["shape"],
            )
            for tensor in tensors
        ]

    inputs, outputs = values(graph["inputs"]), values(graph["outputs"])
    node = onnx.helper.make_node(
        "EPContext",
        [value.name for value in inputs],
        [value.name for value in outputs],
        name=graph["name"],
        domain="com.microsoft",
        main_context=1,
        embed_mode=0,
        ep_cache_context=binary,
        source="QNNExecutionProvider",
        partition_name=graph["name"],
    )
    opsets = [onnx.helper.make_opsetid("", 17), onnx.helper.make_opsetid("com.microsoft", 1)]
    made = onnx.helper.make_graph([node], "context", inputs, outputs)
    onnx.save(onnx.helper.make_model(made, opset_imports=opsets, ir_version=9), path)
    return path
