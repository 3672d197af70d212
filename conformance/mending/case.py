"""A model beside its contract: which of its tensors is which, as far as that can be told."""

from dataclasses import dataclass
from functools import cached_property

from conformance.mending.layout import Layout, input_layout, output_steps
from conformance.submission.feeding import holds
from conformance.submission.graph import Graph, Value
from reference.tracks import Part, Tensor, Track, fits


@dataclass(frozen=True)
class Case:
    """One model as one part of a track."""

    track: Track
    part: Part
    graph: Graph

    @cached_property
    def inputs(self) -> list[tuple[Tensor, Value]]:
        """The tensors of the contract with the inputs that are theirs.

        By name where that one can be it, else the only one that can; where there is one of each it
        is that one whatever its shape is. What nothing reads comes last.
        """
        left = sorted(self.graph.inputs, key=lambda value: value.name not in self.graph.used())
        found: list[tuple[Tensor, Value]] = []
        for by_name in (True, False):
            for tensor in self.part.inputs:
                if any(own is tensor for own, _ in found):
                    continue
                fitting = [each for each in left if self._can_be(each, tensor)]
                if by_name:
                    fitting = [each for each in fitting if each.name == tensor.name]
                used = [each for each in fitting if each.name in self.graph.used()]
                fitting = used or fitting
                if len(fitting) == 1:
                    found.append((tensor, fitting[0]))
                    left.remove(fitting[0])
        if not found and len(self.graph.inputs) == len(self.part.inputs) == 1:
            (tensor,), (value,) = self.part.inputs, self.graph.inputs
            return [(tensor, value)] if self.takes_type(tensor, value) else []
        return found

    @property
    def strangers(self) -> list[Value]:
        """The inputs that are no tensor's of the contract and that nothing reads."""
        own = [value for _, value in self.inputs]
        unread = (each for each in self.graph.inputs if each.name not in self.graph.used())
        return [value for value in unread if value not in own]

    @cached_property
    def output(self) -> Value | None:
        """The output that is scored: the one of the contract's name, or the only one that can
        be it.
        """
        wanted = self.part.output
        outputs = [each for each in self.graph.outputs if each.kind == "tensor"]
        named = [each for each in outputs if each.name == wanted.name]
        fitting = [each for each in outputs if each.dtype in wanted.dtypes]
        fitting = [each for each in fitting if fits(each.shape, wanted.shape)]
        led = [each for each in outputs if output_steps(each.shape, wanted) is not None]
        for own in (named, fitting, led, self.graph.outputs):
            if len(own) == 1:
                return own[0]
        return None

    def layout(self, tensor: Tensor, value: Value) -> Layout | None:
        """How the input `value` takes `tensor`, None where that cannot be told."""
        return input_layout(tensor, value.shape)

    def takes_type(self, tensor: Tensor, value: Value) -> bool:
        """Whether the type of `value` holds everything that is fed for `tensor`."""
        return value.dtype in holds(tensor, raw_pixels=self.track.image_high > 1)

    def _can_be(self, value: Value, tensor: Tensor) -> bool:
        return self.takes_type(tensor, value) and self.layout(tensor, value) is not None
