"""A .npy file of a stranger is an array or a ValueError; one of our own is whole, or not there."""

import errno
import io
import shutil
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from reference.arrays import read_npy, write_npy

_ARRAY = np.arange(12, dtype=np.float32).reshape(3, 4)


def _saved(array: np.ndarray) -> bytes:
    file = io.BytesIO()
    np.save(file, array)
    return file.getvalue()


def _with_header(text: str) -> bytes:
    header = text.encode("latin1") + b"\n"
    return b"\x93NUMPY\x01\x00" + len(header).to_bytes(2, "little") + header + bytes(64)


@pytest.mark.parametrize("shape", [(), (0, 4), (2, 3), (1, 2, 3)])
@pytest.mark.parametrize("dtype", ["bool", "int64", "float32", ">f8", "U5"])
def test_an_array_comes_back(dtype: str, shape: tuple[int, ...], tmp_path: Path) -> None:
    array = np.arange(np.prod(shape, dtype=int)).reshape(shape).astype(dtype)
    write_npy(tmp_path / "x.npy", array)
    assert (tmp_path / "x.npy").read_bytes() == _saved(array)
    read = read_npy(tmp_path / "x.npy")
    assert (read.dtype, read.shape) == (array.dtype, array.shape)
    assert np.array_equal(read, array)
    assert not read.flags.writeable


def test_a_file_that_is_not_whole(tmp_path: Path) -> None:
    whole = _saved(_ARRAY)
    for size in range(len(whole)):
        (tmp_path / "x.npy").write_bytes(whole[:size])
        with pytest.raises(ValueError, match=r"\w"):
            read_npy(tmp_path / "x.npy")


@pytest.mark.parametrize(
    "header",
    [
        "'''",
        "-" * 5000 + "1",
        "{'descr': '<04', 'fortran_order': False, 'shape': (3, 4)}",
        "{'descr': '<f4', 'fortran_order': False, 'shape': (True,)}",
        "{'descr': '<f4', 'fortran_order': False, 'shape': (99999999999999,)}",
        "{'descr': '<f4', 'fortran_order': False, 'shape': (0, 99999999999999999999)}",
        "{'descr': 'O', 'fortran_order': False, 'shape': (3,)}",
    ],
)
def test_a_header_that_was_made_to_harm(header: str, tmp_path: Path) -> None:
    (tmp_path / "x.npy").write_bytes(_with_header(header))
    with pytest.raises(ValueError, match=r"\w"):
        read_npy(tmp_path / "x.npy")


@pytest.mark.parametrize("start", [b"PK\x03\x04", b"\x80\x04K\x01."])
def test_what_is_another_format(start: bytes, tmp_path: Path) -> None:
    (tmp_path / "x.npy").write_bytes(start + bytes(100))
    with pytest.raises(ValueError, match="magic"):
        read_npy(tmp_path / "x.npy")


@settings(max_examples=300, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    changes=st.lists(
        st.tuples(
            st.integers(0, 127),
            st.sampled_from(list(b"()[]{}'\",:0189abTrueFals\\\n\0 -.LOV<>|")),
        ),
        min_size=1,
        max_size=4,
    )
)
@pytest.mark.filterwarnings("ignore")
def test_damage_is_a_value_error_or_an_array(
    changes: list[tuple[int, int]], tmp_path: Path
) -> None:
    raw = bytearray(_saved(_ARRAY))
    for place, value in changes:
        raw[place] = value
    (tmp_path / "x.npy").write_bytes(raw)
    try:
        read = read_npy(tmp_path / "x.npy")
    except ValueError:
        return
    assert read.nbytes <= len(raw)


def test_a_full_disk_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    free = shutil.disk_usage(tmp_path)._replace(free=_ARRAY.nbytes - 1)
    monkeypatch.setattr(shutil, "disk_usage", lambda folder: free)
    with pytest.raises(OSError, match=r"x\.npy") as raised:
        write_npy(tmp_path / "x.npy", _ARRAY)
    assert raised.value.errno == errno.ENOSPC
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(ValueError, match="Object arrays"):
        write_npy(tmp_path / "y.npy", np.array([{}], object))
