"""PyTorch on the host's CPU: TorchScript, exported programs and modules from a factory."""

import importlib
import importlib.util
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from reference.child import Run, Tell
from reference.errors import SubmissionError
from reference.install import install_command
from reference.registry import find_track
from reference.tracks import Part

try:
    import torch
except ImportError:
    raise SubmissionError(
        "a PyTorch submission needs PyTorch, which is not installed",
        install_command("torch"),
    ) from None

from reference.torch_forward import accelerator_of, in_order, reason

# The process may be a fork, which begins with the state of its server.
torch.seed()

_SAME = "save model.state_dict() of the very class that the factory makes"


def load(
    target: str, form: str, state: str, weights: str, threads: int = 0
) -> tuple[str, Run, str]:
    """The model at `target`; returns the runtime's name, its forward pass, and the weight in which
    a factory made another model than the one that `state` keeps.

    `threads` are those of a pass, 0 for one a core.
    """
    if threads:
        torch.set_num_threads(threads)
    module, anew = _open_again(target, form, state, weights)

    def run(feeds: dict[str, np.ndarray]) -> list[Any]:
        with torch.inference_mode(), _explained(target, form):
            answer = _fed(module, feeds)
        return [tensor.numpy() for tensor in _tensors(answer)]

    return f"torch {torch.__version__.partition('+')[0]} CPU", run, anew


def watch(
    target: str, form: str, state: str, weights: str, modules: list[str]
) -> tuple[list[str], Run]:
    """The names of the model's modules, and a forward pass that gives what `modules` return.

    An archive of code, TorchScript or an exported program, has no modules to watch.
    """
    module, _ = _open_again(target, form, state, weights)
    names = [] if form in ("torchscript", "exported") else [n for n, _ in module.named_modules()]
    seen: dict[str, Any] = {}

    def hook(name: str) -> Callable[..., None]:
        return lambda own, arguments, answer: seen.update({name: _tensors(answer)[0].clone()})

    for name in modules:
        module.get_submodule(name).register_forward_hook(hook(name))

    def run(feeds: dict[str, np.ndarray]) -> list[Any]:
        with torch.inference_mode():
            _fed(module, feeds)
        return [seen[name].numpy() for name in modules]

    return names, run


def export(
    target: str, form: str, state: str, weights: str, track: str, part: str, path: str
) -> None:
    """Exports the model at `target` to ONNX under the contract's names."""
    from reference.export import export_onnx

    wanted: Part = find_track(track).part(part)
    with _explained(target, form):
        export_onnx(_open_again(target, form, state, weights)[0], wanted, Path(path))


def trace(
    target: str, form: str, state: str, weights: str, track: str, part: str, path: str
) -> list[str]:
    """Writes the model at `target` as TorchScript; the contract's inputs as its forward takes
    them.
    """
    from reference.export import export_torchscript

    wanted: Part = find_track(track).part(part)
    module, _ = _open_again(target, form, state, weights)
    with _explained(target, form):
        export_torchscript(module, wanted, Path(path))
    return in_order(module, [str(tensor.name) for tensor in wanted.inputs])


def reference(track: str, folder: str, weights: str | None, tell: Tell) -> dict[str, str]:
    """Exports the reference model of a track to ONNX; the files by part."""
    from reference.export import export_reference

    checkpoint = Path(weights) if weights else None
    paths = export_reference(find_track(track), Path(folder), weights=checkpoint, tell=tell)
    return {part: str(path) for part, path in paths.items()}


def open_module(target: str, form: str, weights: str = "") -> Any:
    """The module in a TorchScript file, an exported program, or that a name in Python code is or
    makes, with the state dict in the file `weights`, if any.

    Of the form "reference", `track:part:weights`, it is a reference model.
    """
    if form == "reference":
        from reference.export import build_reference

        track, part, weights = target.split(":", 2)
        return build_reference(find_track(track), Path(weights) if weights else None)[part]
    if form in ("torchscript", "exported"):
        from reference.torch_archive import open_archive

        return open_archive(Path(target), form)
    source, _, name = target.rpartition(":")
    module: Any = getattr(_imported(source), name)
    if not isinstance(module, torch.nn.Module):
        module = module()
    if not isinstance(module, torch.nn.Module):
        raise SubmissionError(
            f"{target} gave a {type(module).__name__}, not a torch.nn.Module",
            "let the factory return the module itself",
        )
    if weights:
        from reference.weights import load_strict, read_checkpoint

        path = Path(weights)
        load_strict(module, read_checkpoint(path), source=path.name, remedy=_SAME)
    return module.eval()


def _imported(source: str) -> Any:
    """The Python module of that name, or in the file of that path, whose folder it can import
    from.
    """
    sys.path.insert(0, os.getcwd())
    if not source.endswith(".py"):
        return importlib.import_module(source)
    path = Path(source).resolve()
    sys.path.insert(0, str(path.parent))
    name = path.stem if path.stem not in sys.modules else f"_{path.stem}"
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None, "it ends in .py"
    assert spec.loader is not None, "and is a file"
    module = sys.modules[name] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def _open_again(target: str, form: str, state: str, weights: str) -> tuple[Any, str]:
    """As `open_module`; of a factory the same weights in every process, and where it made others.

    The first one's weights and buffers are kept in the file `state`.
    """
    module = open_module(target, form, weights)
    if form != "factory" or not state:
        return module, ""
    own = {**dict(module.named_parameters()), **dict(module.named_buffers())}
    if not Path(state).exists():
        torch.save({name: tensor.detach() for name, tensor in own.items()}, state)
        return module, ""
    kept = torch.load(state, weights_only=True)
    anew = ""
    with torch.no_grad():
        for name, tensor in own.items():
            if name not in kept or kept[name].shape != tensor.shape:
                return module, name
            anew = anew or ("" if torch.equal(tensor, kept[name]) else name)
            tensor.copy_(kept[name])
    return module, anew


def _fed(module: Any, feeds: dict[str, np.ndarray]) -> Any:
    names = in_order(module, list(feeds))
    return module(*(torch.from_numpy(feeds[name]) for name in names))


@contextmanager
def _explained(target: str, form: str) -> Iterator[None]:
    """Raises what fits where the model fails for a cause that its file shows."""
    try:
        yield
    except (RuntimeError, SubmissionError) as error:
        device = accelerator_of(Path(target), error) if form == "torchscript" else ""
        if device:
            raise SubmissionError(
                f"{Path(target).name} was traced on a GPU: its code makes tensors on {device!r},"
                " wherever it is loaded",
                "trace it on the CPU: torch.jit.trace(model.cpu(), inputs on the CPU)",
            ) from error
        if isinstance(error, RuntimeError) and "TorchScript interpreter" in str(error):
            raise RuntimeError(reason(error)) from error
        raise


def _tensors(answer: Any) -> list[torch.Tensor]:
    if isinstance(answer, torch.Tensor):
        return [answer]
    if isinstance(answer, dict):
        return [tensor for value in answer.values() for tensor in _tensors(value)]
    if isinstance(answer, list | tuple):
        return [tensor for value in answer for tensor in _tensors(value)]
    raise SubmissionError(
        f"the model returned a {type(answer).__name__}", "return tensors from forward()"
    )
