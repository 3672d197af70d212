"""Models, checkpoints and exports are built once a run."""

import hashlib
import math
import tempfile
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import settings
from PIL import Image
from torch import Tensor, nn

from reference.data import fixture
from reference.errors import SubmissionError
from reference.export import build_reference
from reference.tracks import Track

# The same sums on any number of cores, and no spinning against other processes.
torch.set_num_threads(1)

# No test fails for a slow machine.
settings.register_profile("untimed", deadline=None)
settings.load_profile("untimed")

PHOTOS = ("astronaut.png", "chelsea.png", "coffee.png", "rocket.jpg")


class Recorder(dict[str, Tensor]):
    """A state dict that knows which of its tensors were `read`."""

    def __init__(self, state: dict[str, Tensor]) -> None:
        super().__init__(state)
        self.read: set[str] = set()

    def __getitem__(self, name: str) -> Tensor:
        self.read.add(name)
        return super().__getitem__(name)

    def get(self, name: str, default: Tensor | None = None) -> Tensor | None:
        if name not in self:
            return default
        return self[name]


@pytest.fixture(scope="session")
def recorder() -> type[Recorder]:
    return Recorder


@pytest.fixture(scope="session")
def scratch() -> Iterator[Path]:
    """A folder that does not outlive the run: checkpoints and exports are hundreds of MB."""
    with tempfile.TemporaryDirectory() as folder:
        yield Path(folder)


@pytest.fixture
def shared_cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    """The cache of compiled models is one for all the tests that ask for this."""
    monkeypatch.setenv("LPCVC_CACHE", str(tmp_path_factory.getbasetemp() / "shared-cache"))


@pytest.fixture(scope="session")
def seeded() -> Callable[[Track], dict[str, nn.Module]]:
    """The reference model of a track with seeded random weights."""
    return cache(build_reference)


@pytest.fixture(scope="session")
def photos() -> Callable[[int, int], list[Tensor]]:
    """The photographs at (width, height) as 1x3xHxW float32 in 0..255."""

    @cache
    def read(width: int, height: int) -> list[Tensor]:
        images = (Image.open(fixture(f"photos/{name}")).convert("RGB") for name in PHOTOS)
        arrays = [np.array(image.resize((width, height)), np.float32) for image in images]
        return [torch.from_numpy(array).permute(2, 0, 1)[None].contiguous() for array in arrays]

    return read


@pytest.fixture(scope="session")
def official() -> Callable[[str], dict[str, Tensor]]:
    """A checkpoint with the keys, shapes and dtypes of the official one and random values.

    No value is one that a layer starts with, so a tensor that is not loaded shows.
    """

    @cache
    def make(name: str) -> dict[str, Tensor]:
        rows = fixture(f"checkpoints/{name}.tsv").read_text().splitlines()
        generator = torch.Generator().manual_seed(20250)
        return {
            key: _random(key, shape, dtype, generator)
            for key, shape, dtype in (row.split("\t") for row in rows)
        }

    return make


def _random(key: str, shape: str, dtype: str, generator: torch.Generator) -> Tensor:
    sizes = [] if shape == "scalar" else [int(size) for size in shape.split("x")]
    if dtype == "int64":
        return torch.full(sizes, 7)
    noise = torch.randn(sizes, generator=generator)
    if dtype == "bool":
        return noise > 0
    if len(sizes) >= 2:
        return noise * math.sqrt(sizes[0] / noise.numel())
    if key.endswith(("weight", "gamma", "gamma_1", "gamma_2", "running_var")):
        return 0.5 + noise.abs()
    return noise * 0.3 + 0.1


@pytest.fixture
def refusal(tmp_path: Path) -> Callable[..., str]:
    """What `build` says against the checkpoint `state` after `change`, which must be a refusal."""

    def problem(
        build: Callable[[Path], object],
        state: dict[str, Tensor],
        change: Callable[[dict[str, Tensor]], object],
    ) -> str:
        # A file of one number a tensor: the values are not looked at.
        changed = {name: torch.tensor(0.0).expand(value.shape) for name, value in state.items()}
        change(changed)
        torch.save(changed, tmp_path / "other.pth")
        with pytest.raises(SubmissionError) as raised:
            build(tmp_path / "other.pth")
        assert "other.pth" in raised.value.problem
        return raised.value.problem

    return problem


@pytest.fixture(scope="session")
def digest() -> Callable[[nn.Module], str]:
    """sha256 over the names and bits of a module's state."""

    def compute(module: nn.Module) -> str:
        sha = hashlib.sha256()
        for name, tensor in sorted(module.state_dict().items()):
            sha.update(name.encode())
            sha.update(tensor.numpy().tobytes())
        return sha.hexdigest()

    return compute
