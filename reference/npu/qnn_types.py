"""The structures in which QAIRT's system library tells of a context binary.

They are those of the public QnnTypes.h, QnnSystemContext.h and QnnSystemInterface.h, API 1.x of
the system library. Of a union the longest member is named, which begins as the others do.
"""

import ctypes
from ctypes import POINTER, c_char_p, c_float, c_int32, c_uint8, c_uint32, c_uint64, c_void_p


class Version(ctypes.Structure):
    """`Qnn_Version_t`."""

    _fields_ = (("major", c_uint32), ("minor", c_uint32), ("patch", c_uint32))


class Quantisation(ctypes.Structure):
    """`Qnn_QuantizeParams_t`, whose longest encoding is the one by axis in fewer bits."""

    _fields_ = (
        ("definition", c_uint32),
        ("encoding", c_uint32),
        ("scale", c_float),
        ("offset", c_int32),
        ("other_encodings", c_uint64 * 3),
    )


class Buffer(ctypes.Structure):
    """`Qnn_ClientBuffer_t`."""

    _fields_ = (("data", c_void_p), ("size", c_uint32))


class TensorFields(ctypes.Structure):
    """`Qnn_TensorV2_t`, which begins as version 1 does and is the longer."""

    _fields_ = (
        ("id", c_uint32),
        ("name", c_char_p),
        ("type", c_uint32),
        ("format", c_uint32),
        ("dtype", c_uint32),
        ("quantisation", Quantisation),
        ("rank", c_uint32),
        ("dimensions", POINTER(c_uint32)),
        ("memory", c_uint32),
        ("buffer", Buffer),
        ("dynamic", POINTER(c_uint8)),
        ("sparsity", c_uint32 * 3),
        ("produced", c_uint8),
    )


class Tensor(ctypes.Structure):
    """`Qnn_Tensor_t`."""

    _fields_ = (("version", c_uint32), ("fields", TensorFields))


class GraphFields(ctypes.Structure):
    """`QnnSystemContext_GraphInfoV3_t`."""

    _fields_ = (
        ("name", c_char_p),
        ("input_count", c_uint32),
        ("inputs", POINTER(Tensor)),
        ("output_count", c_uint32),
        ("outputs", POINTER(Tensor)),
        ("updateable_count", c_uint32),
        ("updateable", POINTER(Tensor)),
        ("blob_size", c_uint32),
        ("blob", c_void_p),
        ("operators", c_uint32 * 2),
    )


class Graph(ctypes.Structure):
    """`QnnSystemContext_GraphInfo_t`."""

    _fields_ = (("version", c_uint32), ("fields", GraphFields))


class InfoFields(ctypes.Structure):
    """`QnnSystemContext_BinaryInfoV3_t`."""

    _fields_ = (
        ("backend", c_uint32),
        ("build", c_char_p),
        ("core_api", Version),
        ("backend_api", Version),
        ("soc", c_char_p),
        ("blob_version", Version),
        ("blob_size", c_uint64),
        ("tensor_count", c_uint32),
        ("tensors", POINTER(Tensor)),
        ("graph_count", c_uint32),
        ("graphs", POINTER(Graph)),
        ("platform", c_void_p),
        ("metadata_size", c_uint32),
        ("metadata", c_void_p),
        ("soc_model", c_uint32),
    )


class Info(ctypes.Structure):
    """`QnnSystemContext_BinaryInfo_t`."""

    _fields_ = (("version", c_uint32), ("fields", InfoFields))


class Provider(ctypes.Structure):
    """`QnnSystemInterface_t`."""

    _fields_ = (
        ("backend", c_uint32),
        ("name", c_char_p),
        ("api", Version),
        ("functions", c_void_p * 16),
    )
