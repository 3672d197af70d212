"""TorchScript as plain operators of PyTorch, which is what its exporter takes."""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch.fx import GraphModule
from torch.fx.experimental import proxy_tensor
from torch.utils import _pytree as pytree
from torch.utils._python_dispatch import TorchDispatchMode

from reference.errors import SubmissionError

_CLOSE = {"rtol": 1e-4, "atol": 1e-5}
# A trace has the operator inside the convolution, with switches of a GPU's library at its end.
_PLAINER = {
    torch.ops.aten._convolution.default: lambda *args: torch.ops.aten.convolution.default(*args[:9])
}

# The converter knows a resize by this form alone, and gathers pixels one by one for the other.
_RESIZES = {
    torch.ops.aten.upsample_bilinear2d.default: torch.ops.aten.upsample_bilinear2d.vec,
    torch.ops.aten.upsample_nearest2d.default: torch.ops.aten.upsample_nearest2d.vec,
}


def unscripted(module: Any, examples: tuple[torch.Tensor, ...]) -> GraphModule:
    """What `module` does with inputs of the shapes and dtypes of `examples`, step by step.

    Branches and loops go as they do for `examples`. The sizes that a trace keeps as numbers to
    compute with are computed here and become constant; the exporter's own way with TorchScript
    leaves them in the graph, where a converter stops at them.

    Raises SubmissionError where the steps do not give what the module gives.
    """

    def call(*inputs: torch.Tensor) -> Any:
        with _Folding():  # type: ignore[no-untyped-call]
            return module(*inputs)

    # The optimiser of TorchScript puts guards between the steps, which are no operators.
    with torch.no_grad(), torch.jit.optimized_execution(False):  # type: ignore[attr-defined]
        made = proxy_tensor.make_fx(call, decomposition_table=_PLAINER)(*examples)
        _name_resizes(made)
        others = tuple(torch.rand_like(x) if x.is_floating_point() else x for x in examples)
        pairs = zip(
            pytree.tree_leaves(made(*others)), pytree.tree_leaves(module(*others)), strict=True
        )
        if not all(torch.allclose(one, other, **_CLOSE, equal_nan=True) for one, other in pairs):
            raise SubmissionError(
                "the TorchScript does not do the same for all inputs, or changes what it keeps",
                "export the model with torch.export.save, and give the .pt2 file",
            )
    return made


def _name_resizes(made: GraphModule) -> None:
    """Those whose factors, where they have any, are their sizes' own."""
    for node in made.graph.nodes:
        if node.target in _RESIZES:
            picture, size, *rest = node.args
            corners = rest[:1] if node.target is torch.ops.aten.upsample_bilinear2d.default else []
            factors = [a / b for a, b in zip(size, picture.meta["val"].shape[2:], strict=True)]
            if all(x in (None, own) for x, own in zip(rest[len(corners) :], factors, strict=False)):
                node.args = (picture, size, *corners, None)
                node.target = _RESIZES[node.target]
    made.recompile()


class _Folding(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Computes at once what is made of single numbers that depend on no input, in `make_fx`."""

    def __torch_dispatch__(
        self,
        func: Any,
        types: Sequence[type],
        args: tuple[Any, ...] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        named = kwargs or {}
        mode = proxy_tensor.get_proxy_mode()
        assert mode is not None, "it is for a trace alone"
        given = [x for x in pytree.tree_leaves((args, named)) if isinstance(x, torch.Tensor)]
        # Larger tensors may be filled step by step with what does depend on an input.
        if not given or any(x.dim() or _depends(x, mode.tracer) for x in given):
            return func(*args, **named)
        with proxy_tensor.disable_proxy_modes_tracing():
            return func(*args, **named)


def _depends(x: torch.Tensor, tracer: Any) -> bool:
    return proxy_tensor.has_proxy_slot(x, tracer)
