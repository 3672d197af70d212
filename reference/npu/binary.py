"""Context binaries by themselves: what one says of its graphs, and an ONNX file that stands for it.

`describe` reads with Qualcomm's own library, in the child process. The layouts are those of the
public QnnTypes.h and QnnSystemContext.h, API 1.x of the system library.
"""

import ctypes
from ctypes import POINTER, c_char_p, c_float, c_int32, c_uint32, c_uint64, c_void_p
from pathlib import Path
from typing import Any

import numpy as np

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
_INFO_VERSION = 3
_CREATE, _GET_METADATA = 0, 2  # places in the table of functions
_QUANTISED, _SCALE_OFFSET = 1, 0


class _Quantisation(ctypes.Structure):
    _fields_ = (
        ("definition", c_uint32),
        ("encoding", c_uint32),
        ("scale", c_float),
        ("offset", c_int32),
        ("_other_encodings", c_uint64 * 3),
    )


class _Tensor(ctypes.Structure):
    _fields_ = (
        ("version", c_uint32),
        ("_alignment", c_uint32),  # of the union that follows
        ("id", c_uint32),
        ("name", c_char_p),
        ("type", c_uint32),
        ("format", c_uint32),
        ("dtype", c_uint32),
        ("quantisation", _Quantisation),
        ("rank", c_uint32),
        ("dimensions", POINTER(c_uint32)),
        ("_memory_and_sparsity", c_uint64 * 8),
    )


class _Graph(ctypes.Structure):
    _fields_ = (
        ("version", c_uint32),
        ("name", c_char_p),
        ("input_count", c_uint32),
        ("inputs", POINTER(_Tensor)),
        ("output_count", c_uint32),
        ("outputs", POINTER(_Tensor)),
        ("_updateable", c_uint64 * 2),
        ("_blob", c_uint64 * 2),
        ("_operators", c_uint32 * 2),
    )


class _Info(ctypes.Structure):
    _fields_ = (
        ("version", c_uint32),
        ("_alignment", c_uint32),
        ("backend", c_uint32),
        ("build", c_char_p),
        ("core_api", c_uint32 * 3),
        ("backend_api", c_uint32 * 3),
        ("soc", c_char_p),
        ("blob_version", c_uint32 * 3),
        ("blob_size", c_uint64),
        ("_tensors", c_uint64 * 2),
        ("graph_count", c_uint32),
        ("graphs", POINTER(_Graph)),
        ("_platform", c_void_p),
        ("_metadata", c_uint64 * 2),
        ("soc_model", c_uint32),
    )


class _Provider(ctypes.Structure):
    _fields_ = (
        ("backend", c_uint32),
        ("name", c_char_p),
        ("api", c_uint32 * 3),
        ("functions", c_void_p * 16),
    )


def describe(binary: Path) -> dict[str, Any]:
    """What the context binary at `binary` says of itself: `soc_model`, `qairt`, and its `graphs`.

    A graph has a `name`, and `inputs` and `outputs` with `name`, `shape`, `dtype` and, where they
    are quantised, `scale` and `zero_point`. Raises ValueError for what is no context binary. A
    hostile one may crash the process.
    """
    import onnxruntime_qnn

    htp = Path(onnxruntime_qnn.get_qnn_htp_path())
    library = ctypes.CDLL(str(htp.with_name(htp.name.replace("Htp", "System"))))
    providers, count = POINTER(POINTER(_Provider))(), c_uint32()
    if library.QnnSystemInterface_getProviders(ctypes.byref(providers), ctypes.byref(count)):
        raise ValueError("the system library of QAIRT has no interface")
    functions = providers[0].contents.functions
    create = ctypes.CFUNCTYPE(c_uint64, c_void_p)(functions[_CREATE])
    get = ctypes.CFUNCTYPE(c_uint64, c_void_p, c_char_p, c_uint64, c_void_p)(
        functions[_GET_METADATA]
    )
    handle, info, data = c_void_p(), POINTER(_Info)(), binary.read_bytes()
    create(ctypes.byref(handle))
    if get(handle, data, len(data), ctypes.byref(info)):
        raise ValueError("it is not a QNN context binary, or was cut short")
    found = info.contents
    if found.version != _INFO_VERSION:
        raise ValueError(f"it is of version {found.version}, and version {_INFO_VERSION} is read")
    return {
        "soc_model": found.soc_model,
        "qairt": found.build.decode(),
        "graphs": [_graph(found.graphs[index]) for index in range(found.graph_count)],
    }


def _graph(graph: _Graph) -> dict[str, Any]:
    return {
        "name": graph.name.decode(),
        "inputs": [_tensor(graph.inputs[index]) for index in range(graph.input_count)],
        "outputs": [_tensor(graph.outputs[index]) for index in range(graph.output_count)],
    }


def _tensor(tensor: _Tensor) -> dict[str, Any]:
    name = tensor.name.decode()
    if tensor.dtype not in _DTYPES:
        raise ValueError(f"its tensor {name!r} is of the unknown type {tensor.dtype:#06x}")
    found: dict[str, Any] = {
        "name": name,
        "shape": [tensor.dimensions[axis] for axis in range(tensor.rank)],
        "dtype": _DTYPES[tensor.dtype],
    }
    how = tensor.quantisation
    if (how.definition, how.encoding) == (_QUANTISED, _SCALE_OFFSET):
        found |= {"scale": how.scale, "zero_point": -how.offset}
    return found


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
