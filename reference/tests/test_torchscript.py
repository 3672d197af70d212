"""Tensors of TorchScript files, against torch.jit's own reading of them, and files that attack."""

import os
import pickle
import struct
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from reference.errors import SubmissionError
from reference.torchscript import ForeignCodeError, is_torchscript, read_tensors
from reference.weights import read_checkpoint

pytestmark = pytest.mark.filterwarnings("ignore:.*torch.jit:DeprecationWarning")


class Everything(nn.Module):
    """Attributes of every kind that TorchScript stores."""

    ints: list[int]

    def __init__(self) -> None:
        super().__init__()
        self.line = nn.Linear(3, 2).half()
        self.norm = nn.BatchNorm1d(2)
        self.register_buffer("turned", torch.arange(6.0).view(2, 3).T)
        self.register_buffer("part", torch.arange(10, dtype=torch.int32)[3:7:2])
        self.register_buffer("empty", torch.zeros(0, 3, dtype=torch.bfloat16))
        self.register_buffer("flags", torch.tensor([True, False]))
        self.register_buffer("wave", torch.tensor([1 + 2j]))
        self.register_buffer("count", torch.tensor(7, dtype=torch.int16))
        self.ints, self.floats, self.bools, self.words = (
            [1, 300, 70_000, 2**40],
            [0.5],
            [True],
            ["a"],
        )
        self.tensors, self.named, self.pair = [torch.ones(1)], {"a": torch.ones(1)}, (1, "b")
        self.place, self.nothing = torch.device("cpu"), None

    def forward(self, x: Tensor) -> Tensor:
        used = len(self.ints) + len(self.floats) + len(self.bools) + len(self.words) + self.pair[0]
        return x.to(self.place) + used + self.tensors[0] + self.named["a"] + self.turned.sum()


class Restores(nn.Module):
    """TorchScript that runs code when `torch.jit.load` reads it."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(2))

    @torch.jit.export
    def __getstate__(self) -> tuple[Tensor, bool]:
        return self.weight, self.training

    @torch.jit.export
    def __setstate__(self, state: tuple[Tensor, bool]) -> None:
        self.weight = state[0] + 1
        self.training = state[1]

    def forward(self, x: Tensor) -> Tensor:
        return x + self.weight


def scripted(module: nn.Module, path: Path) -> Path:
    torch.jit.script(module.eval()).save(str(path))
    return path


def rewrite(path: Path, change: Callable[[dict[str, bytes]], object]) -> Path:
    """The archive with other records, by their names without the folder."""
    with zipfile.ZipFile(path) as archive:
        root = archive.namelist()[0].partition("/")[0]
        records = {name.partition("/")[2]: archive.read(name) for name in archive.namelist()}
    change(records)
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in records.items():
            archive.writestr(f"{root}/{name}", content)
    return path


@pytest.fixture(scope="module")
def everything(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    return scripted(Everything(), tmp_path_factory.mktemp("made") / "made.pt").read_bytes()


@pytest.fixture
def archive(everything: bytes, tmp_path: Path) -> Path:
    (tmp_path / "any.pt").write_bytes(everything)
    return tmp_path / "any.pt"


def assert_same(read: dict[str, Tensor], expected: dict[str, Tensor]) -> None:
    assert read.keys() == expected.keys()
    for name, value in expected.items():
        assert (read[name].dtype, read[name].shape) == (value.dtype, value.shape), name
        assert torch.equal(read[name], value), name


def test_it_reads_what_torch_reads(archive: Path) -> None:
    assert is_torchscript(archive)
    assert_same(read_tensors(archive), torch.jit.load(archive).state_dict())


def test_traced_modules_and_modules_in_modules(tmp_path: Path) -> None:
    module = nn.Sequential(nn.Conv2d(3, 4, 1), nn.Sequential(nn.Conv2d(4, 2, 1), nn.ReLU())).eval()
    torch.jit.trace(module, torch.ones(1, 3, 2, 2)).save(str(tmp_path / "traced.pt"))
    assert_same(read_tensors(tmp_path / "traced.pt"), dict(module.state_dict()))


def test_one_module_under_two_names(tmp_path: Path) -> None:
    class Twice(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.a = torch.jit.script(nn.Linear(2, 2))
            self.b = self.a

        def forward(self, x: Tensor) -> Tensor:
            return self.b(self.a(x))

    path = scripted(Twice(), tmp_path / "twice.pt")
    read = read_tensors(path)
    assert_same(read, torch.jit.load(path).state_dict())
    assert read["a.weight"].data_ptr() == read["b.weight"].data_ptr()


def test_weights_saved_on_a_gpu(archive: Path) -> None:
    """OpenAI's were; no GPU is asked for."""
    expected = read_tensors(archive)
    old, new = (b"X" + struct.pack("<I", len(text)) + text for text in (b"cpu", b"cuda:0"))

    def move(records: dict[str, bytes]) -> None:
        assert old in records["data.pkl"]
        records["data.pkl"] = records["data.pkl"].replace(old, new)

    assert_same(read_tensors(rewrite(archive, move)), expected)


def test_state_of_its_own_does_not_run(tmp_path: Path) -> None:
    path = scripted(Restores(), tmp_path / "restores.pt")
    assert torch.jit.load(path).weight.tolist() == [2, 2], "what would have happened"
    with pytest.raises(ForeignCodeError):
        read_tensors(path)


class Runs:
    """A pickle that calls a function."""

    def __init__(self, function: Callable[..., object], *arguments: object) -> None:
        self.call = function, arguments

    def __reduce__(self) -> tuple[Callable[..., object], tuple[object, ...]]:
        return self.call


def attacks(marker: Path) -> dict[str, bytes]:
    """Pickles that would make the file `marker`, and such as Python's reader takes badly."""
    touch = f"open({str(marker)!r}, 'w')"
    calls = {
        "os.system": Runs(os.system, f"touch {marker}"),
        "eval": Runs(eval, touch),
        "a path": Runs(Path.touch, marker),
        "inside a list": [1, {"a": (Runs(eval, touch),)}],
    }
    made = {
        f"{name}, protocol {protocol}": pickle.dumps(call, protocol)
        for name, call in calls.items()
        for protocol in (0, 2, 4)
    }
    command = f"touch {marker}".encode()
    made["INST"] = b"(S'" + command + b"'\nios\nsystem\n."
    made["OBJ"] = b"(cos\nsystem\nS'" + command + b"'\no."
    made["an extension"] = b"\x82\x01."
    made["a module that is not the file's"] = b"c__torch__x\nM\n)\x81."
    made["through the file's own"] = b"\x80\x02c__torch__.os\nsystem\n)\x81cos\nsystem\nb."
    made["a function's state"] = b"\x80\x02ctorch._utils\n_rebuild_tensor_v2\n}b."
    return made


@pytest.mark.parametrize("name", attacks(Path("marker")))
def test_a_pickle_that_runs_code_is_refused(name: str, archive: Path, tmp_path: Path) -> None:
    marker = tmp_path / "marker"
    rewrite(archive, lambda records: records.update({"data.pkl": attacks(marker)[name]}))
    with pytest.raises(SubmissionError) as raised:
        read_checkpoint(archive)
    assert not marker.exists()
    assert "would run code" in raised.value.problem
    assert "\n" not in str(raised.value)


def test_the_code_in_the_file_is_not_looked_at(archive: Path) -> None:
    expected = read_tensors(archive)

    def spoil(records: dict[str, bytes]) -> None:
        records |= {name: b"import os" for name in records if name.startswith("code/")}
        records["constants.pkl"] = pickle.dumps(Runs(os.abort))

    assert_same(read_tensors(rewrite(archive, spoil)), expected)


# A module that holds itself, and modules that hold the next one twice, 40 deep.
_OPEN = b"c__torch__\nM\n)\x81"
ENDLESS = b"\x80\x02" + _OPEN + b"q\x00}(X\x01\x00\x00\x00ah\x00ub."
_TWICE = b"}(X\x01\x00\x00\x00ah%bX\x01\x00\x00\x00bh%bub"
DOUBLING = (
    b"\x80\x02"
    + _OPEN
    + b"q\x00"
    + b"".join(_OPEN + _TWICE.replace(b"%b", bytes([n])) + b"q" + bytes([n + 1]) for n in range(40))
    + b"."
)
DAMAGED: dict[str, Callable[[dict[str, bytes]], object]] = {
    "no pickle": lambda records: records.pop("data.pkl"),
    "half a pickle": lambda records: records.update({"data.pkl": records["data.pkl"][:700]}),
    "an empty pickle": lambda records: records.update({"data.pkl": b""}),
    "no module": lambda records: records.update({"data.pkl": b"\x80\x02K\x01."}),
    "nothing to pop": lambda records: records.update({"data.pkl": b"\x80\x02t."}),
    "no such memory": lambda records: records.update({"data.pkl": b"\x80\x02j\xff\xff\xff\xff."}),
    "a record too few": lambda records: records.pop("data/0"),
    "a short record": lambda records: records.update({"data/0": records["data/0"][:-1]}),
    "a long record": lambda records: records.update({"data/0": records["data/0"] + b"\0"}),
    "the other byte order": lambda records: records.update({"byteorder": b"big"}),
    "a module in itself": lambda records: records.update({"data.pkl": ENDLESS}),
    "modules without end": lambda records: records.update({"data.pkl": DOUBLING}),
}


@pytest.mark.parametrize("change", DAMAGED.values(), ids=DAMAGED)
def test_damaged_archives(change: Callable[[dict[str, bytes]], object], archive: Path) -> None:
    rewrite(archive, change)
    with pytest.raises(SubmissionError, match="is damaged, or not a checkpoint"):
        read_checkpoint(archive)


@pytest.mark.parametrize("share", [0.01, 0.5, 0.99])
def test_truncated_archives(share: float, archive: Path) -> None:
    whole = archive.read_bytes()
    archive.write_bytes(whole[: int(len(whole) * share)])
    with pytest.raises(SubmissionError, match="is damaged, or not a checkpoint"):
        read_checkpoint(archive)


def test_a_tensor_does_not_reach_beyond_its_record(archive: Path) -> None:
    """Size 3 of a record of 2: the shape of `norm.weight`, which comes first with (2,)."""

    def grow(records: dict[str, bytes]) -> None:
        start = records["data.pkl"].index(b"running_mean")
        head, tail = records["data.pkl"][:start], records["data.pkl"][start:]
        assert b"K\x00(K\x02t" in tail
        records["data.pkl"] = head + tail.replace(b"K\x00(K\x02t", b"K\x00(K\x03t", 1)

    rewrite(archive, grow)
    with pytest.raises(SubmissionError, match="is damaged"):
        read_checkpoint(archive)


def test_a_compressed_record_is_not_unpacked(archive: Path) -> None:
    """A few bytes could become gigabytes."""
    with zipfile.ZipFile(archive) as source:
        root = source.namelist()[0].partition("/")[0]
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as target:
        target.writestr(f"{root}/code/__torch__.py", b"")
        target.writestr(f"{root}/data.pkl", b"\0" * 10_000_000)
    with pytest.raises(ValueError, match="compressed"):
        read_tensors(archive)


@settings(max_examples=200, deadline=None)
@given(position=st.integers(0, 1300), value=st.integers(0, 255))
def test_any_damage_is_one_line(
    everything: bytes, tmp_path_factory: pytest.TempPathFactory, position: int, value: int
) -> None:
    """Whatever byte of the pickle is another: tensors, or one line."""
    path = tmp_path_factory.getbasetemp() / "damaged.pt"
    path.write_bytes(everything)

    def damage(records: dict[str, bytes]) -> None:
        spoilt = bytearray(records["data.pkl"])
        spoilt[position] = value
        records["data.pkl"] = bytes(spoilt)

    assert "\n" not in outcome(rewrite(path, damage))


def outcome(path: Path) -> str:
    try:
        return f"{len(read_checkpoint(path))} tensors"
    except SubmissionError as error:
        return str(error)
