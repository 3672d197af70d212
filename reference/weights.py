"""Weights of the reference models: checkpoints read without running code, strict loading, and
seeded random weights for whoever has no checkpoint.
"""

import hashlib
import math
from collections.abc import Iterable, Mapping
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from reference.data import fixture
from reference.errors import SubmissionError
from reference.torchscript import ForeignCodeError, is_torchscript, read_tensors
from reference.tracks import format_shape

_SUFFIXES = (".pt", ".pth", ".bin", ".safetensors", ".ckpt", ".th")
_OFFICIAL = "bring the official checkpoint that the track's documentation names"
_LAYER_SCALES = ("lambda1", "gamma_1", "gamma_2")


def read_checkpoint(path: Path) -> dict[str, Tensor]:
    """The tensors of a checkpoint by name, on the CPU, dtypes as stored.

    Reads `.safetensors`, and `.pt`, `.pth`, `.bin`, `.ckpt` or `.th` as a pickled state dict (also
    nested under `state_dict`, as Lightning has it, `model_state_dict` or `model`) or as a
    TorchScript file, the form of OpenAI's ViT-B-16.pt. Nothing of the file can run. Raises
    SubmissionError for a file that is missing, of another extension, damaged, that would run code,
    or that has no tensors.
    """
    if path.suffix.lower() not in _SUFFIXES:
        raise SubmissionError(
            f"{path} is of an unknown kind", f"give a file that ends in {', '.join(_SUFFIXES)}"
        )
    if not path.is_file():
        raise SubmissionError(f"there is no file {path}", "give the path of a checkpoint")
    try:
        loaded = _load(path)
    except Exception as error:  # a damaged file can make its reader fail in any way
        if isinstance(error, ForeignCodeError) or "GLOBAL" in str(error):
            raise SubmissionError(
                f"{path} holds Python objects that would run code when read",
                "save the state dict alone, or convert it to .safetensors",
            ) from error
        # Not the reader's own words: torch's advise to let the pickle run.
        raise SubmissionError(
            f"{path} is damaged, or not a checkpoint",
            "download it again, and compare its size with the publisher's",
        ) from error
    for key in ("state_dict", "model_state_dict", "model"):
        if isinstance(loaded, Mapping) and isinstance(loaded.get(key), Mapping):
            loaded = loaded[key]
    entries = loaded.items() if isinstance(loaded, Mapping) else ()
    tensors = {
        name: value.detach()
        for name, value in entries
        if isinstance(name, str) and isinstance(value, Tensor)
    }
    if not tensors:
        raise SubmissionError(f"{path} has no named tensors", "save a state dict into it")
    return tensors


def _load(path: Path) -> object:
    if path.suffix.lower() == ".safetensors":
        from safetensors.torch import load_file

        return load_file(path)
    if is_torchscript(path):
        return read_tensors(path)
    return torch.load(path, map_location="cpu", weights_only=True)


def checkpoint_shapes(name: str) -> dict[str, tuple[int, ...]]:
    """The shape of each tensor in the official checkpoint `name` (`clip_vitb32`), by its key."""
    rows = fixture(f"checkpoints/{name}.tsv").read_text(encoding="utf-8").splitlines()
    fields = (row.split("\t") for row in rows)
    return {
        key: () if shape == "scalar" else tuple(int(size) for size in shape.split("x"))
        for key, shape, _ in fields
    }


def check_keys(
    expected: Mapping[str, Iterable[int]],
    state: Mapping[str, Tensor],
    *,
    source: str,
    remedy: str = _OFFICIAL,
) -> None:
    """Raise SubmissionError unless `state` has exactly the expected names and shapes.

    The message gives the number of missing, unexpected and wrong-shaped tensors and names the
    first of each; `source` says whose they are.
    """
    wanted = {name: tuple(shape) for name, shape in expected.items()}
    misshapen = [
        f"{name} is {format_shape(tuple(state[name].shape))}, not {format_shape(shape)}"
        for name, shape in wanted.items()
        if name in state and tuple(state[name].shape) != shape
    ]
    faults = {
        "missing": [name for name in wanted if name not in state],
        "unexpected": [name for name in state if name not in wanted],
        "of another shape": misshapen,
    }
    found = [f"{len(names)} {fault} ({_few(names)})" for fault, names in faults.items() if names]
    if found:
        raise SubmissionError(
            f"{source} is not a checkpoint of this model: tensors {'; '.join(found)}",
            remedy,
        )


def unwrapped(state: Mapping[str, Tensor], names: Iterable[str]) -> Mapping[str, Tensor]:
    """`state` without the prefix before all its names that a wrapper put there, such as `module.`
    (DataParallel), `_orig_mod.` (torch.compile) or `model.` (Lightning); as it is where that does
    not give exactly the tensors called `names`.
    """
    first, wanted = next(iter(state), ""), list(names)
    for bare in wanted:
        prefix = first.removesuffix(f".{bare}") + "."
        if {prefix + name for name in wanted} == state.keys():
            return {name: state[prefix + name] for name in wanted}
    return state


def _few(names: list[str], count: int = 2) -> str:
    return ", ".join(names[:count]) + (", ..." if len(names) > count else "")


def load_strict(
    module: nn.Module, state: Mapping[str, Tensor], *, source: str, remedy: str = _OFFICIAL
) -> None:
    """Load `state` into `module`, cast to its dtypes; every name, but for the prefix of a wrapper,
    and shape must match.

    Raises SubmissionError, as `check_keys` does.
    """
    expected = {name: value.shape for name, value in module.state_dict().items()}
    state = unwrapped(state, expected)
    check_keys(expected, state, source=source, remedy=remedy)
    module.load_state_dict(state)


def seed_weights(module: nn.Module) -> None:
    """Fill the parameters and persistent buffers of `module` with seeded random numbers.

    A tensor depends on its name and shape alone, to the last bit and on any machine. Matrices and
    kernels are uniform with variance 1 / fan-in, normalisation weights and variances are near 1,
    all else is small. Integers stay as they are.
    """
    for name, tensor in module.state_dict().items():
        if tensor.is_floating_point():
            tensor.copy_(_seeded(name, tuple(tensor.shape)))


def _seeded(name: str, shape: tuple[int, ...]) -> Tensor:
    count = math.prod(shape)
    seed = int.from_bytes(hashlib.sha256(name.encode()).digest(), "big")
    # numpy fixes the raw stream of PCG64 for good (NEP 19), which it does not do for its
    # distributions, nor torch for any of its own. 24 bits make every step below exact.
    bits = np.random.PCG64(seed).random_raw(count) >> np.uint64(40)
    noise = bits.astype(np.float32) * np.float32(2.0**-23) - np.float32(1)
    centre, spread = _centre_and_spread(name.rpartition(".")[2], shape)
    values = np.float32(centre) + np.float32(spread) * noise
    return torch.from_numpy(values.reshape(shape))


def _centre_and_spread(kind: str, shape: tuple[int, ...]) -> tuple[float, float]:
    if len(shape) >= 2:
        return 0.0, math.sqrt(3.0 * shape[0] / math.prod(shape))
    if kind in ("weight", "running_var", *_LAYER_SCALES):
        return 1.0, 0.25
    return 0.0, 0.1
