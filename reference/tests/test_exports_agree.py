"""Models that are exported in three ways have one estimate."""

import warnings
from pathlib import Path

import pytest
import torch
from torch import nn

from reference.cache import Cache
from reference.npu.devices import find_device
from reference.npu.latency import estimate_on
from reference.npu.simulation import simulate
from reference.tests.npu_models import needs_compiler

S24 = find_device("Samsung Galaxy S24")


class Attention(nn.Module):
    """As timm writes it, with GELU by tanh."""

    def __init__(self, width: int = 96, heads: int = 3) -> None:
        super().__init__()
        self.heads, self.act = heads, nn.GELU(approximate="tanh")
        self.norms = nn.ModuleList(nn.LayerNorm(width) for _ in range(2))
        self.packed, self.out = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.up, self.down = nn.Linear(width, 4 * width), nn.Linear(4 * width, width)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        batch, tokens, width = x.shape
        packed = self.packed(self.norms[0](x))
        packed = packed.reshape(batch, tokens, 3, self.heads, width // self.heads)
        query, key, value = packed.permute(2, 0, 3, 1, 4).unbind(0)
        found = nn.functional.scaled_dot_product_attention(query, key, value)
        x = x + self.out(found.transpose(1, 2).reshape(batch, tokens, width))
        return x + self.down(self.act(self.up(self.norms[1](x))))


class Torchs(Attention):
    """With torch's own attention, whose Squeeze the compiler gives to one thread."""

    def __init__(self) -> None:
        super().__init__()
        self.own = nn.MultiheadAttention(96, 3, batch_first=True)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        given = self.norms[0](x)
        x = x + self.own(given, given, given, need_weights=False)[0]
        return x + self.down(self.act(self.up(self.norms[1](x))))


class Masked(Attention):
    """As Hugging Face's text encoders write it, with a mask that hides nothing."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        batch, tokens, width = x.shape
        shape = batch, tokens, self.heads, width // self.heads
        parts = self.packed(self.norms[0](x)).chunk(3, dim=-1)
        query, key, value = (part.reshape(shape).transpose(1, 2) for part in parts)
        mask = torch.ones(1, 1, tokens, tokens, dtype=torch.bool)
        found = nn.functional.scaled_dot_product_attention(query, key, value, attn_mask=mask)
        x = x + self.out(found.transpose(1, 2).reshape(batch, tokens, width))
        return x + self.down(self.act(self.up(self.norms[1](x))))


WAYS = {
    "script": {"dynamo": False, "opset_version": 17},
    "dynamo": {"dynamo": True, "opset_version": 18, "verbose": False},
    "new": {"dynamo": True, "opset_version": 20, "verbose": False},
}


def simulated(module: nn.Module, x: torch.Tensor, folder: Path) -> tuple[list[float], list[float]]:
    """Milliseconds of the three exports as they are written, and estimates of their one graph."""
    cache, written, estimates = Cache(folder / "cache"), [], []
    for name, options in WAYS.items():
        path = folder / f"{name}.onnx"
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            torch.onnx.export(module, (x,), path, input_names=["x"], **options)
        as_written = simulate(path, "onnx", as_written=True, cache=cache)
        assert as_written.milliseconds is not None
        written.append(as_written.milliseconds)
        made = estimate_on(simulate(path, "onnx", cache=cache), S24)
        assert made.milliseconds is not None, made.reasons
        estimates.append(made.milliseconds)
    return written, estimates


@needs_compiler
@pytest.mark.parametrize(
    ("network", "apart"),
    [
        pytest.param(Attention, 2, marks=pytest.mark.slow),
        pytest.param(Torchs, 2, marks=pytest.mark.slow),
        (Masked, 1.2),
    ],
)
def test_three_exports_of_a_model_have_one_estimate(
    network: type[nn.Module], apart: float, tmp_path: Path
) -> None:
    """As they are written, their simulated times differ by more than that factor."""
    torch.manual_seed(0)
    written, estimates = simulated(network().eval(), torch.rand(1, 196, 96), tmp_path)
    assert max(estimates) < 1.1 * min(estimates)
    assert max(written) > apart * min(written)


SIZES = {
    "hidden_size": 192,
    "num_hidden_layers": 2,
    "num_attention_heads": 3,
    "intermediate_size": 768,
}
PATCHES = {"image_size": 112, "patch_size": 16, **SIZES}
TEXT = {"vocab_size": 100, "max_position_embeddings": 128}
ENCODERS: dict[str, dict[str, object]] = {
    "Albert": {"embedding_size": 64, **TEXT, **SIZES},
    "DistilBert": {"dim": 192, "n_layers": 2, "n_heads": 3, "hidden_dim": 768, **TEXT},
    "DeiT": PATCHES,
    "CLIPVision": PATCHES,
}


class Last(nn.Module):
    """The last hidden state of an encoder alone."""

    def __init__(self, encoder: nn.Module) -> None:
        super().__init__()
        self.encoder = encoder

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        found: torch.Tensor = self.encoder(x).last_hidden_state
        return found


@pytest.mark.slow
@needs_compiler
@pytest.mark.parametrize("name", ENCODERS)
def test_three_exports_of_hugging_face(name: str, tmp_path: Path) -> None:
    transformers = pytest.importorskip("transformers")
    torch.manual_seed(0)
    config = getattr(transformers, f"{name}Config")(**ENCODERS[name])
    module = Last(getattr(transformers, f"{name}Model")(config)).eval()
    x = torch.rand(1, 3, 112, 112) if "image_size" in ENCODERS[name] else torch.arange(100)[None]
    estimates = simulated(module, x, tmp_path)[1]
    assert max(estimates) < 1.1 * min(estimates)
