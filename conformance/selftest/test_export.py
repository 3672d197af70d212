"""`lpcvc export` of a user's PyTorch, and what code may stand for a model."""

import json
import sys
from pathlib import Path

import onnx
import pytest
import torch

from conformance.cli import main
from conformance.runtimes.child import ModelChild
from conformance.selftest.assess import assess, broken
from conformance.selftest.test_cli import loaded
from conformance.submission.factory import check_factory, split_factory
from conformance.submission.graph import read_graph
from conformance.suite import Suite
from reference.depth.contract import DEPTH_2025
from reference.errors import SubmissionError

pytestmark = pytest.mark.usefixtures("one_process")

SOURCE = '''
"""A depth model, and what else may be called."""
import torch
from torch import nn

from beside import SCALE


class Depth(nn.Module):
    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.net = nn.Sequential(nn.AvgPool2d(8), nn.Conv2d(3, 1, 1), nn.Upsample(scale_factor=8))

    def forward(self, x):
        depth = self.net(x / SCALE)
        low, high = depth.amin((1, 2, 3), keepdim=True), depth.amax((1, 2, 3), keepdim=True)
        return (depth - low) / (high - low).clamp(min=1e-6)


def build():
    return Depth()


model = Depth()
try:
    import torch as other
except ImportError:
    spare = None
'''
INPUT, OUTPUT = "image float32 1x3x480x640", "depth float32 1x1x480x640"


@pytest.fixture
def mine(place: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with the user's code in a folder of it, where no module can be imported from."""
    monkeypatch.setattr(sys, "path", [*sys.path])
    (place / "code").mkdir()
    (place / "code" / "my_model.py").write_text(SOURCE)
    (place / "code" / "beside.py").write_text("SCALE = 255\n")
    return place


def export(*words: str, track: str = "depth") -> int:
    return main(["export", *words, "--track", track])


def test_a_factory_in_a_file(mine: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """With the contract's names and shapes; what is random knows no near and far."""
    assert export("code/my_model.py:build", "out/my.onnx") == 0
    assert capsys.readouterr().out == (
        f"model: out/my.onnx (code/my_model.py:build)\n  in   {INPUT}\n  out  {OUTPUT}\n"
    )
    assert broken(assess(DEPTH_2025, ["out/my.onnx"], mine / "work")) <= {"DEP-8"}


@pytest.mark.parametrize("name", ["build", "Depth", "model"])
def test_what_a_name_may_be(name: str, mine: Path) -> None:
    """A function, a class, and a module that is made; each of the same weights."""
    child, image = ModelChild(), torch.rand(1, 3, 480, 640) * 255
    target = f"code/my_model.py:{name}"
    assert child.load(target, "factory", "", "")["runtime"].startswith("torch ")
    assert child._run is not None
    (answer,) = child._run({"image": image.numpy()})
    assert answer.shape == (1, 1, 480, 640)
    assert float(answer.sum()) == pytest.approx(_plain(mine)(image).sum().item(), rel=1e-5)


def _plain(mine: Path) -> torch.nn.Module:
    source = SOURCE.replace("from beside import SCALE", "SCALE = 255")
    space: dict = {"__name__": "plain"}
    exec(source, space)
    return space["build"]().eval()


def test_torchscript_and_back(mine: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert export("code/my_model.py:build", "my.pt") == 0
    assert capsys.readouterr().out.splitlines()[1:] == [f"  in   {INPUT}"]
    assert torch.jit.load("my.pt")(torch.zeros(1, 3, 480, 640)).shape == (1, 1, 480, 640)
    assert export("my.pt", "again.onnx") == 0
    assert [value.label for value in read_graph(Path("again.onnx")).inputs] == [INPUT]


def test_a_state_dict_beside_a_factory(mine: Path, capsys: pytest.CaptureFixture[str]) -> None:
    weights = {name: t + 1 for name, t in _plain(mine).state_dict().items()}
    torch.save({"state_dict": {f"model.{name}": t for name, t in weights.items()}}, "my.ckpt")
    assert export("code/my_model.py:build", "my.onnx", "--weights", "my.ckpt", "--json") == 0
    own = {"part": "model", "file": "my.onnx", "made_of": "code/my_model.py:build"}
    assert json.loads(capsys.readouterr().out) == [{**own, "inputs": [INPUT], "outputs": [OUTPUT]}]
    kept = {t.name: onnx.numpy_helper.to_array(t) for t in onnx.load("my.onnx").graph.initializer}
    assert kept["net.1.bias"] == pytest.approx(weights["net.1.bias"].numpy())


def test_the_suite_takes_it_too(mine: Path) -> None:
    torch.save(_plain(mine).state_dict(), "my.pt")
    suite = Suite(["depth"], ["code/my_model.py:build"], "my.pt", [])
    (model,) = suite.subjects[0].opener(lambda text: None).models.values()
    assert (model.format, model.weights) == ("factory", "my.pt")
    suite.close()


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["code/my_model.py:biuld", "a.onnx"], "my_model.py has no attribute 'biuld'; did you mea"),
        (
            ["code/my_model.py:nothing", "a.onnx"],
            "my_model.py has no attribute 'nothing'; it defines Depth, build, model, spare",
        ),
        (["code/my_modle.py:build", "a.onnx"], "no such file: code/my_modle.py; is it code/my_m"),
        (["my_model:build", "a.onnx"], "no module is called 'my_model'; give the file, FILE.py:b"),
        (["empty.py:build", "a.onnx"], "empty.py has no attribute 'build'; it defines nothing: sa"),
        (["wrong.py:build", "a.onnx"], "wrong.py is no Python that can be read (invalid syntax, l"),
        (["my.onnx", "a.onnx"], "my.onnx is ONNX already; lpcvc fix my.onnx --track depth-2025 -o"),
        (["code/my_model.py:build", "a.h5"], "a.h5 does not say what to write; let it end in .onn"),
        (["a:b", "c:d", "out.onnx"], "2 models are given; export one after the other"),
        (["a:b", "a.onnx", "--form", "onnx"], "--form is of the reference, and a:b is given; OUT"),
        (["a:b", "a.onnx", "--resolution", "9"], "--resolution is of the reference, and a:b is g"),
        (["code/my_model.py:build", "my.onnx/a.onnx"], "my.onnx/a.onnx cannot be written: "),
        (["code/my_model.py:build", "a.onnx", "--weights", "no.pt"], "there is no file no.pt; gi"),
        (
            ["code/my_model.py:build", "a.onnx", "--weights", "bad.pt"],
            "bad.pt is not a chec",
        ),
        (
            ["code/my_model.py:build", "a.onnx", "--weights", "wide.pt"],
            "wide.pt is not a ch",
        ),
        (["my.pt2", "a.onnx", "--weights", "bad.pt"], "my.pt2 holds no exported program; write"),
    ],
)
def test_mistakes_are_one_line(
    words: list[str], told: str, mine: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (mine / "empty.py").write_text("")
    (mine / "wrong.py").write_text("def build(:\n")
    (mine / "my.onnx").write_bytes(b"\x08\x08")
    torch.save({"more": torch.zeros(1)}, "bad.pt")
    torch.save({"net.1.weight": torch.zeros(2, 3, 1, 1)}, "wide.pt")
    torch.save({}, "my.pt2")
    assert export(*words) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.splitlines()[-1].startswith(f"lpcvc: {told}"), captured.err
    assert not (mine / "a.onnx").exists()


def test_a_part_has_to_be_said(mine: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert export("a:b", "out.onnx", track="retrieval") == 2
    assert capsys.readouterr().err == (
        "lpcvc: retrieval-2026 takes 2 models; say which this is: image=a:b or text=a:b\n"
    )


def test_a_file_has_its_own_weights(mine: Path, capsys: pytest.CaptureFixture[str]) -> None:
    torch.jit.trace(torch.nn.Identity(), torch.zeros(1)).save("my.pt")
    assert export("my.pt", "a.onnx", "--weights", "my.pt") == 2
    assert capsys.readouterr().err.endswith(
        "--weights is for a reference or a factory, and my.pt has its own;"
        " leave --weights out, or give file.py:factory\n"
    )


def test_a_name_is_looked_for_before_torch_is_imported(
    mine: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And no code of the user's runs for it."""
    (mine / "loud.py").write_text("raise SystemExit('it ran')\ndef build(): ...\n")
    check_factory("loud.py:build")
    check_factory("loud:build")
    assert "torch" not in loaded("export --help")


@pytest.mark.parametrize(
    "text",
    [
        "from torch import *",
        "def __getattr__(name): ...",
        "if True:\n    build = 1",
        "try:\n    from x import y as build\nexcept ImportError:\n    build = None",
        "build: object = 1",
        "other, (build, more) = 1, (2, 3)",
        "async def build(): ...",
        "with open('x') as f:\n    build = f",
    ],
)
def test_names_that_may_be_there_are_let_through(text: str, place: Path) -> None:
    (place / "mine.py").write_text(text)
    check_factory("mine.py:build")


def test_modules_in_packages(place: Path) -> None:
    """Found without importing what is above them."""
    (place / "package" / "inner").mkdir(parents=True)
    (place / "package" / "__init__.py").write_text("raise SystemExit('it ran')")
    (place / "package" / "inner" / "mine.py").write_text("def build(): ...\n")
    check_factory("package.inner.mine:build")
    for target, told in {
        "package.inner.mine:biuld": "mine.py has no attribute 'biuld'; did you mean build?",
        "package.inner.none:build": "no module is called 'package.inner.none'",
        "package.inner.mine.more:build": "no module is called 'package.inner.mine.more'",
    }.items():
        with pytest.raises(SubmissionError) as caught:
            check_factory(target)
        assert str(caught.value).startswith(told)


@pytest.mark.parametrize(
    ("target", "found"),
    [
        ("a:b", ("a", "b")),
        ("a.b:c", ("a.b", "c")),
        ("a.py:b", ("a.py", "b")),
        ("../x y/a.py:b", ("../x y/a.py", "b")),
        ("C:\\code\\a.py:b", ("C:\\code\\a.py", "b")),
        ("a:b()", None),
        ("a", None),
        (":b", None),
        ("C:\\a.onnx", None),
        ("https://a.b/c", None),
        ("a.py:", None),
    ],
)
def test_which_words_are_code(target: str, found: tuple[str, str] | None) -> None:
    assert split_factory(target) == found
