"""Data sets against the client's own reader and writer."""

from pathlib import Path

import h5py
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst

from reference.aihub.data import DataSet, DataSetWriter
from reference.aihub.tasks import TaskError, TensorSpec
from reference.tests.aihub_jobs import Samples, download, upload

DTYPES = ["float32", "float16", "int8", "int16", "int32", "int64", "uint8", "uint16", "bool"]
NAMES = st.text(st.characters(codec="utf-8", exclude_characters="\0"), min_size=1, max_size=8)
SHAPES = npst.array_shapes(min_dims=1, max_dims=4, max_side=4)


@st.composite
def data_sets(draw: st.DrawFn) -> Samples:
    """Up to twelve tensors of any type, each of one shape; 10 comes after 9, not after 1."""
    count = draw(st.integers(1, 3))
    return {
        name: [draw(npst.arrays(draw(st.just(dtype)), shape)) for _ in range(count)]
        for name, dtype, shape in draw(
            st.lists(
                st.tuples(NAMES, st.sampled_from(DTYPES), SHAPES),
                min_size=1,
                max_size=12,
                unique_by=lambda tensor: tensor[0],
            )
        )
    }


def same(a: Samples, b: Samples) -> None:
    assert list(a) == list(b)
    for name, arrays in a.items():
        for one, other in zip(arrays, b[name], strict=True):
            assert (one.dtype, one.shape) == (other.dtype, other.shape)
            assert one.tobytes() == other.tobytes()


@settings(deadline=None, max_examples=40)
@given(data_sets())
def test_both_ways(tmp_path_factory: pytest.TempPathFactory, samples: Samples) -> None:
    folder = tmp_path_factory.mktemp("h5")
    with DataSet(upload(samples, folder / "in.h5")) as data:
        count = len(data)
        read = [data.sample(index) for index in range(count)]
    same({name: [sample[name] for sample in read] for name in read[0]}, samples)
    with DataSetWriter(folder / "out.h5", list(samples)) as writer:
        for sample in read:
            writer.add(sample)
    same(download(folder / "out.h5"), samples)


def test_a_scalar_and_an_empty_array(tmp_path: Path) -> None:
    arrays = {"a": np.float32(3.5), "b": np.zeros((0, 4), np.float32)}
    with DataSetWriter(tmp_path / "x.h5", list(arrays)) as writer:
        writer.add(arrays)
    found = download(tmp_path / "x.h5")
    assert (found["a"][0].shape, found["a"][0].item()) == ((), 3.5)
    assert found["b"][0].shape == (0, 4)


def spec(name: str = "x", shape: tuple[int, ...] = (1, 2), dtype: str = "float32") -> TensorSpec:
    return TensorSpec(name, shape, dtype)


ONES = [np.ones((1, 2), np.float32)] * 2


def test_what_fits(tmp_path: Path) -> None:
    with DataSet(upload({"y": ONES, "x": ONES}, tmp_path / "x.h5")) as data:
        data.check([spec("x"), spec("y")], "the model")
        assert data.names == ("y", "x")


NEITHER = {
    "name": (spec("z"), "the data set has 'x', and the model takes 'z'"),
    "size": (spec(shape=(2, 1)), "input 'x': sample 0 is float32[1, 2], and the model takes"),
    "dtype": (
        spec(dtype="int32"),
        "input 'x': sample 0 is float32[1, 2], and the model takes int32[1, 2]",
    ),
}


@pytest.mark.parametrize("case", NEITHER)
def test_what_does_not_fit(case: str, tmp_path: Path) -> None:
    wanted, reason = NEITHER[case]
    with (
        DataSet(upload({"x": ONES}, tmp_path / "x.h5")) as data,
        pytest.raises(TaskError) as raised,
    ):
        data.check([wanted], "the model")
    assert str(raised.value).startswith(reason)


def broken(change, folder: Path) -> Path:
    path = upload({"x": ONES, "y": ONES}, folder / "broken.h5")
    with h5py.File(path, "r+") as file:
        change(file)
    return path


def shorter(file: h5py.File) -> None:
    file["data/1"].attrs["batch_count"] = 1


def longer(file: h5py.File) -> None:
    file["data/1"].attrs["batch_count"] = 3


def nameless(file: h5py.File) -> None:
    del file["data/0"].attrs["name"]


def one_name(file: h5py.File) -> None:
    file["data/1"].attrs["name"] = "x"


def empty(file: h5py.File) -> None:
    del file["data"]


def none(file: h5py.File) -> None:
    for index in range(2):
        file[f"data/{index}"].attrs["batch_count"] = 0


def missing(file: h5py.File) -> None:
    del file["data/1/batch_1"]
    file["data/1/batch_7"] = ONES[0]


def loose(file: h5py.File) -> None:
    file["data/two"] = ONES[0]


def grouped(file: h5py.File) -> None:
    del file["data/0/batch_1"]
    file.create_group("data/0/batch_1")


def typed(file: h5py.File) -> None:
    del file["data/1/batch_0"]
    file["data/1/batch_0"] = np.dtype("float32")


def an_array(file: h5py.File) -> None:
    del file["data"]
    file["data"] = ONES[0]


def endless(file: h5py.File) -> None:
    file["data/0"].attrs["order"] = float("inf")


def countless(file: h5py.File) -> None:
    file["data/0"].attrs["batch_count"] = "many"


def linked(file: h5py.File) -> None:
    del file["data/0/batch_0"]
    file["data/0/batch_0"] = h5py.ExternalLink("/etc/hostname", "/")


def outside(file: h5py.File) -> None:
    """The bytes of another file as the sample: they would come back as an output."""
    del file["data/0/batch_0"]
    file["data/0"].create_dataset(
        "batch_0", (1, 2), "float32", external=[("/etc/passwd", 0, h5py.h5f.UNLIMITED)]
    )


def virtual(file: h5py.File) -> None:
    del file["data/0/batch_0"]
    layout = h5py.VirtualLayout((1, 2), "float32")
    layout[:] = h5py.VirtualSource("/etc/passwd", "data", (1, 2))
    file["data/0"].create_virtual_dataset("batch_0", layout)


BROKEN = {
    shorter: "the tensors of the data set differ in their number of samples: 2 of 'x', 1 of 'y'",
    longer: "the data set says 3 samples and has 2",
    nameless: "the data set has another layout than the client's",
    one_name: "the data set has two tensors of one name",
    empty: "the data set is empty",
    none: "the data set has no samples",
    missing: "the data set has 'batch_1' not in itself, or not at all",
    loose: "the data set has '/data/two', which must be a group of samples",
    grouped: "the data set has '/data/0/batch_1', which must be an array",
    typed: "the data set has '/data/1/batch_0', which must be an array",
    an_array: "the data set has another layout than the client's",
    endless: "the data set has another layout than the client's",
    countless: "the data set has another layout than the client's",
    linked: "the data set has 'batch_0' not in itself, or not at all",
    outside: "the data set has 'batch_0' not in itself, or not at all",
    virtual: "the data set has 'batch_0' not in itself, or not at all",
}


@pytest.mark.parametrize("change", BROKEN, ids=lambda change: change.__name__)
def test_what_is_no_data_set(change, tmp_path: Path) -> None:
    with pytest.raises(TaskError) as raised:
        DataSet(broken(change, tmp_path))
    assert str(raised.value).startswith(BROKEN[change])


@pytest.mark.parametrize("data", [b"", b"no HDF5", b"\x89HDF\r\n\x1a\n" + bytes(100)])
def test_what_is_no_hdf5(data: bytes, tmp_path: Path) -> None:
    (tmp_path / "x.h5").write_bytes(data)
    with pytest.raises(TaskError, match="the data set is not an HDF5 file, or was cut short"):
        DataSet(tmp_path / "x.h5")


def void(file: h5py.File) -> None:
    del file["data/0/batch_0"]
    file["data/0/batch_0"] = h5py.Empty("float32")


def of_text(file: h5py.File) -> None:
    del file["data/0/batch_0"]
    file["data/0/batch_0"] = "text"


def of_fields(file: h5py.File) -> None:
    del file["data/0/batch_0"]
    file["data/0/batch_0"] = np.zeros((1, 2), [("a", "float32")])


@pytest.mark.parametrize("change", [void, of_text, of_fields])
def test_samples_that_are_no_tensors(change, tmp_path: Path) -> None:
    with DataSet(broken(change, tmp_path)) as data, pytest.raises(TaskError):
        data.check([spec("x"), spec("y")], "the model")
