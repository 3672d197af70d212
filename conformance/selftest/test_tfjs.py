"""The translation from TensorFlow.js, without the published weights."""

import json

import numpy as np
import pytest

from conformance.selftest.tfjs import deeplab, unpacked


def test_arrays_lie_one_after_the_other() -> None:
    entries = [
        {"name": "one", "shape": [], "dtype": "int32"},
        {"name": "four", "shape": [2, 2], "dtype": "float32"},
    ]
    content = np.int32(7).tobytes() + np.arange(4, dtype=np.float32).tobytes()
    read = unpacked(entries, content)
    assert read["one"] == 7
    np.testing.assert_array_equal(read["four"], [[0, 1], [2, 3]])
    with pytest.raises(ValueError, match="take 20 bytes, not 24"):
        unpacked(entries, content + bytes(4))


def test_unknown_operators_are_named() -> None:
    nodes = [{"name": "logits/semantic/BiasAdd", "op": "Erf", "input": ["sub_7"]}]
    description = {
        "modelTopology": {"node": nodes},
        "weightsManifest": [{"paths": [], "weights": []}],
    }
    with pytest.raises(ValueError, match="operator Erf of logits/semantic/BiasAdd"):
        deeplab(json.dumps(description).encode(), b"")
