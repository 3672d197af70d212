"""PyTorch submissions: the same rules, and the ONNX export must be the same model."""

import inspect
import warnings
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from conformance.rules.behaviour import export_tolerance
from conformance.runtimes.child import ModelChild
from conformance.runtimes.process import ModelProcess
from conformance.selftest.assess import assess, broken
from conformance.selftest.facts import graph_of
from conformance.selftest.mutants import depth_modules
from conformance.submission.graph import Value
from conformance.submission.model import Model
from reference.child import Tell
from reference.depth.contract import DEPTH_2025
from reference.errors import CheckpointWarning
from reference.process import Limits
from reference.retrieval.contract import RETRIEVAL_2026

# Its child imports PyTorch once; the modules of all have one source.
shared = pytest.mark.usefixtures("one_process")

SOURCE = (
    inspect.getsource(depth_modules)
    + """

class Unexportable(Depth):
    def finish(self, depth, image):
        return depth + 0 * torch.fft.fft(depth).real


class Pair(Depth):
    def finish(self, depth, image):
        return depth, depth


class Noisy(Depth):
    def finish(self, depth, image):
        return depth * torch.rand(1)


class Grown(Depth):
    def __init__(self):
        super().__init__()
        import os

        self.gain = nn.Parameter(torch.ones(1 + os.getpid() % 1000))

    def finish(self, depth, image):
        return depth * self.gain.mean()


class Layered(Depth):
    def __init__(self):
        super().__init__()
        generator = torch.Generator().manual_seed(0)
        kernels = torch.randn(6, 8, 8, 3, 3, generator=generator) / 72**0.5
        self.kernels = nn.Parameter((kernels + torch.eye(8)[:, :, None, None] / 9).half())

    def finish(self, depth, image):
        x = nn.functional.avg_pool2d(depth, 20).half().expand(1, 8, 24, 32)
        for kernel in self.kernels:
            x = torch.tanh(nn.functional.conv2d(x, kernel, padding=1))
        waves = nn.functional.interpolate(x[:, :1].float().sigmoid(), size=(480, 640))
        return (0.1 * waves + 0.9 * depth).clamp(0, 1)


class Whole(Depth):
    def finish(self, depth, image):
        return (depth * 2).long()


class Image(nn.Module):
    def forward(self, image):
        return nn.functional.avg_pool2d((image - 0.45) / 0.22, 28).flatten(1)


class Text(nn.Module):
    def __init__(self):
        super().__init__()
        generator = torch.Generator().manual_seed(0)
        self.table = nn.Parameter(torch.randn(49408, 192, generator=generator))

    def forward(self, text):
        ended = torch.eq(text, 49407).float()
        live = (torch.cumsum(ended, 1) - ended < 0.5).float().unsqueeze(-1)
        return (self.table[text] * live).sum(1)
"""
)


class Halved(torch.nn.Module):
    """A network in half precision between casts."""

    def __init__(self, own: torch.nn.Module) -> None:
        super().__init__()
        self.own = own.half()

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        return self.own(image.half()).float()


@pytest.fixture(scope="module", autouse=True)
def workplace(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A folder with the user's module in it, as working directory."""
    folder = tmp_path_factory.mktemp("workplace")
    (folder / "mine.py").write_text(SOURCE)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        yield folder


@shared
def test_factory(tmp_path: Path) -> None:
    verdicts = assess(DEPTH_2025, ["mine:Depth"], tmp_path)
    assert {id: v for id, v in verdicts.items() if v.outcome != "pass"} == {}
    assert "torch 2" in verdicts["COM-8"].seen
    assert {"COM-13", "COM-14"} <= verdicts.keys()


@shared
def test_torchscript(tmp_path: Path) -> None:
    torch.jit.trace(depth_modules.Depth().eval(), torch.rand(1, 3, 480, 640)).save(
        tmp_path / "my.pt"
    )
    verdicts = assess(DEPTH_2025, [str(tmp_path / "my.pt")], tmp_path)
    assert {id: v for id, v in verdicts.items() if v.outcome != "pass"} == {}


@shared
def test_exported_program(tmp_path: Path) -> None:
    program = torch.export.export(depth_modules.Depth().eval(), (torch.rand(1, 3, 480, 640),))
    torch.export.save(program, tmp_path / "my.pt2")
    verdicts = assess(DEPTH_2025, [str(tmp_path / "my.pt2")], tmp_path)
    assert {id: v for id, v in verdicts.items() if v.outcome != "pass"} == {}


@pytest.mark.slow
def test_two_factories(tmp_path: Path) -> None:
    verdicts = assess(RETRIEVAL_2026, ["image=mine:Image", "text=mine:Text"], tmp_path)
    assert broken(verdicts) <= {"TXT-4"}, "the tracer casts an index to int64"


@pytest.mark.slow
@shared
def test_drift_is_not_deterministic(tmp_path: Path) -> None:
    verdicts = assess(DEPTH_2025, ["mine:Drifting"], tmp_path)
    assert broken(verdicts) == {"COM-12"}
    assert "probe 'astronaut again'" in verdicts["COM-12"].where


def test_a_factory_of_random_weights_is_built_once(tmp_path: Path) -> None:
    """One model is exported, run and compared; that a second call gives another is advice."""
    verdicts = assess(DEPTH_2025, ["mine:Unseeded"], tmp_path)
    assert broken(verdicts) == {"COM-14"}
    assert verdicts["COM-14"].seen == "two calls of mine:Unseeded differ in 'gain'"
    assert verdicts["COM-13"].seen.startswith("difference at most")


@pytest.mark.parametrize("draw", ["torch.rand(1)", "torch.tensor([np.random.rand()])", "python"])
def test_processes_draw_numbers_of_their_own(draw: str, tmp_path: Path) -> None:
    """Though they begin as forks of one server, which has imported PyTorch."""
    value = draw.replace("python", "torch.tensor([random.random()])")
    (tmp_path / "drawn.py").write_text(
        "import random\nimport numpy as np\nimport torch\n\n\n"
        "class Drawn(torch.nn.Module):\n"
        "    def __init__(self):\n"
        "        super().__init__()\n"
        f"        self.gain = torch.nn.Parameter({value})\n"
    )
    target = f"{tmp_path / 'drawn.py'}:Drawn"
    model = Model("model", "factory", target, state=str(tmp_path / "kept"))
    anew = []
    for _ in range(3):
        with ModelProcess("it", tmp_path, lambda seconds: None, Limits(), torch=True) as process:
            process.load(model)
            anew.append(process.built_anew)
    assert anew == ["", "gain", "gain"]


def test_a_factory_of_another_network_at_each_call(tmp_path: Path) -> None:
    verdicts = assess(DEPTH_2025, ["mine:Grown"], tmp_path)
    assert broken(verdicts) == {"COM-14"}


@shared
def test_half_precision_is_compared_at_its_own_step(tmp_path: Path) -> None:
    verdicts = assess(DEPTH_2025, ["mine:Layered"], tmp_path)
    assert "COM-13" not in broken(verdicts), verdicts["COM-13"]
    module = depth_modules.Depth().eval()
    torch.jit.trace(Halved(module), torch.rand(1, 3, 480, 640)).save(tmp_path / "half.pt")
    verdicts = assess(DEPTH_2025, [str(tmp_path / "half.pt")], tmp_path / "scripted")
    assert "COM-13" not in broken(verdicts), verdicts["COM-13"]


@pytest.mark.parametrize(
    ("dtype", "tolerance"),
    [("float32", 1e-3), ("float64", 1e-3), ("float16", 2.0**-6), ("bfloat16", 2.0**-3)],
)
def test_the_lowest_precision_gives_the_tolerance(dtype: str, tolerance: float) -> None:
    values = {"depth": Value("depth", "float32", None), "net": Value("net", dtype, None)}
    graph = replace(graph_of("Conv image,w -> net; Cast net -> depth"), values=values)
    assert export_tolerance(graph) == tolerance


@shared
def test_frozen_branch_is_another_model(tmp_path: Path) -> None:
    verdicts = assess(DEPTH_2025, ["mine:Branching"], tmp_path)
    assert broken(verdicts) == {"COM-13"}
    assert "off by 0.5" in verdicts["COM-13"].seen or "off by 1" in verdicts["COM-13"].seen


@shared
def test_no_export_is_one_broken_rule(tmp_path: Path) -> None:
    verdicts = assess(DEPTH_2025, ["mine:Unexportable"], tmp_path)
    assert broken(verdicts) == {"COM-13"}
    assert "cannot be exported to ONNX" in verdicts["COM-13"].seen
    assert verdicts["DEP-5"].outcome == "skip"
    assert verdicts["DEP-7"].outcome == "pass"


@shared
@pytest.mark.parametrize(
    ("factory", "rule"), [("Pair", "DEP-4"), ("Noisy", "COM-6"), ("Whole", "DEP-6")]
)
def test_the_export_shows_what_is_wrong(factory: str, rule: str, tmp_path: Path) -> None:
    assert broken(assess(DEPTH_2025, [f"mine:{factory}"], tmp_path)) == {rule}


def test_what_is_left_of_a_checkpoint_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    def build(track: str, folder: str, weights: str | None, tell: Tell) -> dict[str, str]:
        warnings.warn("a.pth: not loaded: b", CheckpointWarning, stacklevel=1)
        warnings.warn("something else", UserWarning, stacklevel=1)
        return {"model": "m.onnx"}

    monkeypatch.setattr("conformance.runtimes.torch.reference", build)
    answer = ModelChild().reference("depth-2025", "folder", "a.pth")
    assert answer == {"paths": {"model": "m.onnx"}, "notes": ["a.pth: not loaded: b"]}
