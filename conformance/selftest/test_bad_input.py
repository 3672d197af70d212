"""What cannot be a submission: one line with a remedy, a non-zero exit, nothing written."""

import pickle
import shutil
import zipfile
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper

from conformance import plugin
from conformance.selftest.gate import run_gate
from conformance.selftest.models import conforming

DEPTH = "--track=depth"


def depth_model(folder: Path, name: str = "my.onnx") -> Path:
    onnx.save(conforming("depth"), folder / name)
    return folder / name


def external(folder: Path, location: str) -> None:
    """A model with its ramp in another file, which is not written."""
    model = conforming("depth")
    ramp = next(t for t in model.graph.initializer if t.name == "ramp")
    array = numpy_helper.to_array(ramp)
    ramp.ClearField("raw_data")
    ramp.data_location = TensorProto.EXTERNAL
    for key, value in (("location", location), ("offset", "0"), ("length", str(array.nbytes))):
        ramp.external_data.add(key=key, value=value)
    onnx.save(model, folder / "my.onnx")


def empty_file(folder: Path) -> list[str]:
    (folder / "my.onnx").write_bytes(b"")
    return [DEPTH, "--submission=my.onnx"]


def truncated(folder: Path) -> list[str]:
    path = depth_model(folder)
    path.write_bytes(path.read_bytes()[:-500])
    return [DEPTH, "--submission=my.onnx"]


def not_onnx(folder: Path) -> list[str]:
    (folder / "my.onnx").write_bytes(np.random.default_rng(0).bytes(5000))
    return [DEPTH, "--submission=my.onnx"]


def a_picture(folder: Path) -> list[str]:
    (folder / "my.onnx").write_bytes(b"\x89PNG\r\n\x1a\n" + bytes(100))
    return [DEPTH, "--submission=my.onnx"]


def wrong_extension(folder: Path) -> list[str]:
    depth_model(folder, "my.model")
    return [DEPTH, "--submission=my.model"]


def missing_weights(folder: Path) -> list[str]:
    external(folder, "my.data")
    return [DEPTH, "--submission=my.onnx"]


def escaping_weights(folder: Path) -> list[str]:
    inner = folder / "inner"
    inner.mkdir()
    external(inner, "../secret.bin")
    (folder / "secret.bin").write_bytes(bytes(10_000))
    return [DEPTH, "--submission=inner/my.onnx"]


def absolute_weights(folder: Path) -> list[str]:
    (folder / "secret.bin").write_bytes(bytes(10_000))
    inner = folder / "inner"
    inner.mkdir()
    external(inner, str(folder / "secret.bin"))
    return [DEPTH, "--submission=inner/my.onnx"]


def linked_weights(folder: Path) -> list[str]:
    inner = folder / "inner"
    inner.mkdir()
    external(inner, "my.data")
    (folder / "secret.bin").write_bytes(bytes(10_000))
    (inner / "my.data").symlink_to(folder / "secret.bin")
    return [DEPTH, "--submission=inner/my.onnx"]


def short_weights(folder: Path) -> list[str]:
    external(folder, "my.data")
    (folder / "my.data").write_bytes(bytes(100))
    return [DEPTH, "--submission=my.onnx"]


def zip_slip(folder: Path) -> list[str]:
    with zipfile.ZipFile(folder / "my.zip", "w") as archive:
        archive.write(depth_model(folder), "../my.onnx")
    return [DEPTH, "--submission=my.zip"]


def zip_of_two(folder: Path) -> list[str]:
    path = depth_model(folder)
    with zipfile.ZipFile(folder / "my.zip", "w") as archive:
        archive.write(path, "a.onnx")
        archive.write(path, "b.onnx")
    return [DEPTH, "--submission=my.zip"]


def pickled(folder: Path) -> list[str]:
    torch.save(torch.nn.Conv2d(3, 1, 1).state_dict(), folder / "my.pt")
    return [DEPTH, "--submission=my.pt"]


class Bomb:
    def __reduce__(self) -> tuple[Callable, tuple]:
        return Path.touch, (Path("exploded"),)


def bomb(folder: Path) -> list[str]:
    (folder / "my.pt").write_bytes(pickle.dumps(Bomb()))
    return [DEPTH, "--submission=my.pt"]


def bomb_in_torch_save(folder: Path) -> list[str]:
    torch.save({"weight": Bomb()}, folder / "my.pt")
    return [DEPTH, "--submission=my.pt"]


def bomb_in_pt2(folder: Path) -> list[str]:
    module = torch.nn.Conv2d(3, 1, 1)
    torch.export.save(torch.export.export(module, (torch.zeros(1, 3, 4, 4),)), folder / "a.pt2")
    with zipfile.ZipFile(folder / "a.pt2") as old, zipfile.ZipFile(folder / "my.pt2", "w") as new:
        for name in old.namelist():
            binary = name.endswith((".pt", "_0", "_1", ".bin")) or "/weights/" in name
            data = pickle.dumps(Bomb()) if binary else old.read(name)
            new.writestr(name, data)
    (folder / "a.pt2").unlink()
    return [DEPTH, "--submission=my.pt2"]


def raising_factory(folder: Path) -> list[str]:
    (folder / "mine.py").write_text("def build():\n    raise RuntimeError('no such checkpoint')\n")
    return [DEPTH, "--submission=mine:build"]


def missing_factory(folder: Path) -> list[str]:
    (folder / "mine.py").write_text("")
    return [DEPTH, "--submission=mine:build"]


def part_not_said(folder: Path) -> list[str]:
    (folder / "mine.py").write_text("build = None\n")
    return ["--track=retrieval", "--submission=mine:build"]


def factory_of_a_number(folder: Path) -> list[str]:
    (folder / "mine.py").write_text("def build():\n    return 42\n")
    return [DEPTH, "--submission=mine:build"]


def output_from_nowhere(folder: Path) -> list[str]:
    """A graph that onnxruntime refuses, and of which nothing else is wrong."""
    model = conforming("depth")
    model.graph.output[0].name = "nowhere"
    onnx.save(model, folder / "my.onnx")
    return [DEPTH, "--submission=my.onnx"]


def more_memory_than_there_is(folder: Path) -> list[str]:
    model = conforming("depth")
    graph = model.graph
    graph.initializer.append(numpy_helper.from_array(np.array([10**12]), "huge"))
    graph.node.insert(0, helper.make_node("ConstantOfShape", ["huge"], ["zeros"]))
    graph.node.insert(1, helper.make_node("ReduceMax", ["zeros"], ["peak"], keepdims=0))
    graph.node.insert(2, helper.make_node("Add", ["image", "peak"], ["picture"]))
    next(n for n in graph.node if n.name == "centred").input[0] = "picture"
    onnx.save(model, folder / "my.onnx")
    return [DEPTH, "--submission=my.onnx"]


CASES: dict[str, tuple[Callable[[Path], list[str]], str]] = {
    "missing file": (lambda folder: [DEPTH, "--submission=my.onnx"], "no such file: my.onnx"),
    "empty file": (empty_file, "my.onnx is empty"),
    "truncated": (truncated, "not an ONNX model or was cut short"),
    "random bytes": (not_onnx, "not an ONNX model"),
    "a picture": (a_picture, "not an ONNX model"),
    "wrong extension": (wrong_extension, "my.model has no extension that says what it is"),
    "external data missing": (
        missing_weights,
        "COM-1: 'my.data', which tensor 'ramp' needs, is mi",
    ),
    "external data outside": (
        escaping_weights,
        "COM-1: '../secret.bin', which tensor 'ramp' needs",
    ),
    "external data absolute": (absolute_weights, "leads outside the folder"),
    "external data linked": (linked_weights, "leads outside the folder"),
    "external data short": (short_weights, "has 100 bytes: cut short"),
    "zip slip": (zip_slip, "leads outside the folder"),
    "zip of two models": (zip_of_two, "my.zip holds 2 .onnx files, a.onnx, b.onnx, and"),
    "state dict": (pickled, "my.pt is a pickle, not TorchScript"),
    "pickle bomb": (bomb, "my.pt is a pickle"),
    "pickle bomb in torch.save": (bomb_in_torch_save, "my.pt is a pickle"),
    "unknown track": (lambda folder: ["--track=detph"], "unknown track or edition 'detph'"),
    "unknown edition": (lambda folder: ["--track=depth-2031"], "unknown track or edition"),
    "no track": (lambda folder: ["--submission=my.onnx"], "--submission needs one --track"),
    "no reference": (lambda folder: ["--track=retrieval-2026-draft"], "has no reference model"),
    "unknown part": (
        lambda folder: ["--track=retrieval", "--submission=picture=a.onnx"],
        "retrieval-2026 has no part 'picture'; its parts are: image, text",
    ),
    "factory missing": (missing_factory, "mine.py has no attribute 'build'; it defines nothing"),
    "part not said": (
        part_not_said,
        "retrieval-2026 takes 2 models and 'mine:build' does not say which it is",
    ),
    "contradiction": (lambda folder: ["--as-evaluated", "--strict"], "opposite things"),
}

# It imports PyTorch, as one that is run by default does.
FACTORIES_BESIDE = {"factory of a number"}
UNRUNNABLE: dict[str, tuple[Callable[[Path], list[str]], str]] = {
    "pickle bomb in .pt2": (bomb_in_pt2, "my.pt2 cannot be loaded"),
    "factory raises": (raising_factory, "RuntimeError: no such checkpoint (mine.py:2)"),
    "factory of a number": (factory_of_a_number, "mine:build gave a int, not a torch.nn.Module"),
    "load failure": (output_from_nowhere, "my.onnx cannot be loaded"),
    "out of memory": (more_memory_than_there_is, "my.onnx needs more memory than its limit of"),
}


# Of each kind one takes the whole way of a user: a session's start is most of what one costs.
BY_GATE = {"truncated", "external data outside", "pickle bomb in torch.save", "contradiction"}


@pytest.mark.parametrize("case", CASES)
def test_bad_input_is_one_line_and_writes_nothing(
    case: str, place: Path, pytestconfig: pytest.Config
) -> None:
    prepare, expected = CASES[case]
    options = prepare(place)
    before = sorted(place.rglob("*"))
    told = (refused_by_gate if case in BY_GATE else refused_here)(options, place, pytestconfig)
    assert expected in told
    assert "; " in told, "the remedy follows the problem"
    assert "\n" not in told
    assert sorted(place.rglob("*")) == before


def refused_by_gate(options: list[str], folder: Path, _: pytest.Config) -> str:
    gate = run_gate(folder, *options, "-q", PYTHONDONTWRITEBYTECODE="1")
    assert gate.code == pytest.ExitCode.USAGE_ERROR, gate.out + gate.err
    assert "Traceback" not in gate.out + gate.err
    (told,) = (line for line in gate.lines if "ERROR: " in line)
    return told


def refused_here(options: list[str], _: Path, config: pytest.Config) -> str:
    """What the plugin says of the options before it collects anything."""
    known, _rest = config._parser.parse_known_and_unknown_args([*options, "-m", "contract"])
    session = SimpleNamespace(
        stash=pytest.Stash(),
        option=known,
        getoption=lambda name, default=None: getattr(known, name, default),
    )
    with pytest.raises(pytest.UsageError) as raised:
        plugin._wings(session)
    return str(raised.value)


@pytest.mark.parametrize(
    "case",
    [
        pytest.param(case, marks=[pytest.mark.slow] if case in FACTORIES_BESIDE else [])
        for case in UNRUNNABLE
    ],
)
def test_what_cannot_be_run_is_one_line_and_writes_nothing(case: str, tmp_path: Path) -> None:
    prepare, expected = UNRUNNABLE[case]
    options = prepare(tmp_path)
    before = sorted(tmp_path.rglob("*"))
    gate = run_gate(tmp_path, *options, "-q", PYTHONDONTWRITEBYTECODE="1")
    told = [line for line in gate.lines if line.startswith("COM-8: could not be run: ")]
    assert gate.code == pytest.ExitCode.TESTS_FAILED, gate.out + gate.err
    assert len(told) == 1
    assert expected in told[0]
    assert "; " in told[0], "the remedy follows the problem"
    assert gate.out.splitlines()[-1].startswith("1 failed, "), "every other rule has its verdict"
    assert "Traceback" not in gate.out + gate.err
    assert sorted(tmp_path.rglob("*")) == before


def test_parts_twice_and_missing(tmp_path: Path) -> None:
    onnx.save(conforming("retrieval", "image"), tmp_path / "image.onnx")
    image = "--submission=image=image.onnx"
    twice = run_gate(tmp_path, "--track=retrieval", image, image)
    assert twice.code == pytest.ExitCode.USAGE_ERROR
    assert "the part 'image' of retrieval-2026 is given twice; give every part once" in twice.err
    missing = run_gate(tmp_path, "--track=retrieval", image)
    assert missing.code == pytest.ExitCode.USAGE_ERROR
    assert "retrieval-2026 needs 2 models and text is missing" in missing.err


def test_external_data_that_is_there_is_fine(tmp_path: Path) -> None:
    shutil.rmtree(tmp_path)
    tmp_path.mkdir()
    onnx.save(
        conforming("depth"),
        tmp_path / "my.onnx",
        save_as_external_data=True,
        location="my.data",
        size_threshold=0,
    )
    gate = run_gate(tmp_path, DEPTH, "--submission=my.onnx", "-v")
    assert gate.code == 0, gate.out
    assert "kB and 1 weight files" in gate.out
