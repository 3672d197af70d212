"""Data sets as AI Hub's client writes and reads them: HDF5, a group for each tensor and in it one
array for each sample.

The layout is `/data/<i>/batch_<k>` for tensor i of sample k. The attributes of `/data/<i>` are the
`name` of the tensor, its `order` (i) and `batch_count`, the number of samples.
"""

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Self

import numpy as np

from reference.aihub.tasks import TaskError, TensorSpec

_GROUP = "data"


class DataSet:
    """A data set that is read one sample at a time. A context manager.

    Raises TaskError for a file that is no data set, or whose tensors differ in length.
    """

    def __init__(self, path: Path) -> None:
        import h5py

        try:
            self._file = h5py.File(path, "r")
        except OSError as error:
            raise TaskError(
                f"the data set is not an HDF5 file, or was cut short ({error})"
            ) from None
        try:
            with _reading():
                self._tensors = _tensors(self._file)
        except TaskError:
            self._file.close()
            raise
        self.names = tuple(self._tensors)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    def __len__(self) -> int:
        """The number of samples."""
        return len(next(iter(self._tensors.values())))

    def sample(self, index: int) -> dict[str, np.ndarray]:
        """The arrays of one sample by name; raises TaskError where they cannot be read."""
        with _reading():
            return {name: arrays[index][()] for name, arrays in self._tensors.items()}

    def check(self, wanted: Sequence[TensorSpec], what: str) -> None:
        """Raises TaskError where a sample is not what `wanted` says; `what` is who wants it.

        No array is read.
        """
        names = [spec.name for spec in wanted]
        if sorted(names) != sorted(self.names):
            raise TaskError(
                f"the data set has {_list(self.names)}, and {what} takes {_list(names)}"
            )
        with _reading():
            for spec in wanted:
                for index, array in enumerate(self._tensors[spec.name]):
                    if (array.shape, array.dtype.name) != (spec.shape, spec.dtype):
                        raise TaskError(_difference(spec, array, index, what))


@contextlib.contextmanager
def _reading() -> Iterator[None]:
    """Whatever h5py raises says what the file is, not what the hub did."""
    try:
        yield
    except (ArithmeticError, AttributeError, LookupError, OSError, TypeError, ValueError) as error:
        raise TaskError(
            f"the data set has another layout than the client's, or is damaged: {error}"
        ) from None
    except RuntimeError as error:
        raise TaskError(f"the data set is damaged: {error}") from None


def _difference(spec: TensorSpec, array: Any, index: int, what: str) -> str:
    found, taken = label(array.dtype.name, array.shape), label(spec.dtype, spec.shape)
    hint = ""
    if (array.dtype.name, spec.dtype) == ("int64", "int32"):
        hint = "; --truncate_64bit_io made it int32"
    elif array.shape == spec.shape and spec.scale is not None:
        hint = f"; it is quantised, with scale {spec.scale:g} and zero point {spec.zero_point:g}"
    return f"input {spec.name!r}: sample {index} is {found}, and {what} takes {taken}{hint}"


class DataSetWriter:
    """Writes a data set one sample at a time. A context manager.

    The file is complete only after it.
    """

    def __init__(self, path: Path, names: Sequence[str]) -> None:
        import h5py

        self._file = h5py.File(path, "w")
        self._names = names
        self._samples = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for index, name in enumerate(self._names):
            group = self._file.require_group(f"{_GROUP}/{index}")
            group.attrs["name"] = name
            group.attrs["order"] = index
            group.attrs["batch_count"] = self._samples
        self._file.close()

    def add(self, arrays: Mapping[str, np.ndarray]) -> None:
        """One more sample: an array for each of the names."""
        for index, name in enumerate(self._names):
            array = np.asarray(arrays[name])
            # HDF5 compresses no scalars and no empty arrays.
            compression = "gzip" if array.size and array.ndim else None
            path = f"{_GROUP}/{index}/batch_{self._samples}"
            self._file.create_dataset(path, data=array, compression=compression)
        self._samples += 1


def label(dtype: str, shape: Sequence[int | str]) -> str:
    """A tensor's type in words, such as `float32[1, 3, 224, 224]`."""
    return f"{dtype}[{', '.join(map(str, shape))}]"


def _list(names: Sequence[str]) -> str:
    return ", ".join(map(repr, names)) or "no tensor"


def _tensors(file: Any) -> dict[str, list[Any]]:
    """The HDF5 data sets by tensor name, in the order that was written down."""
    if _GROUP not in file:
        raise TaskError("the data set is empty")
    groups = [_own(file[_GROUP], name, "Group") for name in file[_GROUP]]
    if any("order" in group.attrs for group in groups):
        groups.sort(key=lambda group: int(group.attrs["order"]))
    found = {str(group.attrs["name"]): _samples(group) for group in groups}
    counts = {name: len(arrays) for name, arrays in found.items()}
    if len(found) < len(groups):
        raise TaskError("the data set has two tensors of one name")
    if not counts or not min(counts.values()):
        raise TaskError("the data set has no samples")
    if len({*counts.values()}) > 1:
        said = ", ".join(f"{count} of {name!r}" for name, count in counts.items())
        raise TaskError(f"the tensors of the data set differ in their number of samples: {said}")
    return found


def _samples(group: Any) -> list[Any]:
    count = int(group.attrs["batch_count"])
    if count > len(group):
        raise TaskError(f"the data set says {count} samples and has {len(group)}")
    return [_own(group, f"batch_{index}", "Dataset") for index in range(count)]


def _own(group: Any, name: str, kind: str) -> Any:
    """The `kind` called `name`, which must lie in this very file: links could show other files."""
    import h5py

    link = group.get(name, getlink=True)
    member = group[name] if isinstance(link, h5py.HardLink) else None
    if member is None or (
        isinstance(member, h5py.Dataset) and (member.external or member.is_virtual)
    ):
        raise TaskError(f"the data set has {name!r} not in itself, or not at all")
    if type(member).__name__ != kind:
        words = {"Group": "a group of samples", "Dataset": "an array"}
        raise TaskError(f"the data set has {member.name!r}, which must be {words[kind]}")
    return member
