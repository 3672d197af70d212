"""Finds where two computations of one ONNX graph first part, looking at few tensors at a time."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from conformance.contract.look import describe
from conformance.parity.flow import Flow, spread
from conformance.submission.graph import Node
from reference.agreement import Array, relative_error

# The values of named tensors for one set of inputs.
Runner = Callable[[Sequence[str]], dict[str, Array]]

RATIO = 4.0  # how many times the error before it an error must be, to be a jump
TENSORS = 16  # looked at in one round
LAYERS = 64  # in the one round that is to show all layers
MOST_BYTES = 512 * 2**20  # of one round

# A tensor's name, and its error as `Jump` has it.
TensorError = tuple[str, float]


@dataclass(frozen=True)
class Jump:
    """The node whose `tensor` is the first that is wrong.

    Errors are root mean squares in standard deviations of the tensor: `before` is the largest of
    what it is computed from and `after` its own. `seen` is the tensor on either side, in words.
    `rounds` is how often both sides ran, and `errors` are all that were seen, first computed first.
    """

    node: Node
    tensor: str
    before: float
    after: float
    seen: tuple[str, str]
    rounds: int
    errors: tuple[TensorError, ...]


@dataclass(frozen=True)
class Growth:
    """No node stands out: the error grows on its way, up to `after`; the rest as of a jump."""

    after: float
    rounds: int
    errors: tuple[TensorError, ...]


def locate(
    flow: Flow,
    reference: Runner,
    other: Runner,
    *,
    floor: float,
    tensors: Sequence[str] = (),
    first: int = TENSORS,
    tell: Callable[[str], None] = lambda text: None,
) -> Jump | Growth:
    """Where `other` first parts from `reference`.

    An error is a jump if it is above `floor` and RATIO times what came before. `tensors` are those
    that both runners can give (by default all of the graph), first computed first; at most `first`
    of them, later TENSORS, and MOST_BYTES are asked for in one round. A wrong tensor that nothing
    but right ones are computed from, such as a mask of attention, is passed over. `tell` hears of
    each round.
    """
    search = _Search(flow, reference, other, tell)
    suspects = _suspects(flow, tensors)
    search.look(suspects, flow.output, count=first)
    found = search.first_jump(floor)
    if found is None:
        return Growth(search.errors[flow.output], search.rounds, search.ordered())
    wrong, limit = found
    while True:
        right = {name for name, error in search.errors.items() if error <= limit}
        within = flow.ancestors(wrong) - right - flow.ancestors(*right)
        suspects = [name for name in suspects if name in within]
        earlier = next((s for s in suspects if search.errors.get(s, 0.0) > limit), None)
        if earlier is not None:
            wrong = earlier
        elif not search.look(suspects):
            break
    node = flow.producer(wrong)
    assert node is not None, "inputs are not looked at"
    before, after = search.before(wrong), search.errors[wrong]
    seen = search.seen[wrong]
    return Jump(node, wrong, before, after, seen, search.rounds, search.ordered())


def look_along(
    flow: Flow,
    reference: Runner,
    other: Runner,
    tell: Callable[[str], None] = lambda text: None,
) -> tuple[TensorError, ...]:
    """The errors of at most LAYERS tensors from the input to the output, in one round."""
    search = _Search(flow, reference, other, tell)
    search.look(_suspects(flow), flow.output, count=LAYERS)
    return search.ordered()


def _suspects(flow: Flow, tensors: Sequence[str] = ()) -> list[str]:
    own = flow.ancestors(flow.output) | {flow.output}
    return [name for name in tensors or flow.tensors if name in own]


class _Search:
    """The relative error of every tensor that was looked at."""

    def __init__(
        self, flow: Flow, reference: Runner, other: Runner, tell: Callable[[str], None]
    ) -> None:
        self._flow = flow
        self._runners = reference, other
        self._tell = tell
        self.errors: dict[str, float] = {}
        self.seen: dict[str, tuple[str, str]] = {}
        self.rounds = 0

    def look(self, suspects: Sequence[str], *also: str, count: int = TENSORS) -> bool:
        """Looks at some of `suspects` that were not seen yet; False if there are none."""
        unseen = [name for name in suspects if name not in self.errors and name not in also]
        while sum(map(self._flow.nbytes, spread(unseen, count))) > MOST_BYTES and count > 1:
            count //= 2
        asked = [*spread(unseen, count), *also]
        if not asked:
            return False
        self.rounds += 1
        self._tell(f"round {self.rounds}, {len(asked)} of {len(suspects)} tensors")
        one, other = (run(asked) for run in self._runners)
        for name in asked:
            same = one[name].shape == other[name].shape
            self.seen[name] = describe(one[name]), describe(other[name])
            self.errors[name] = relative_error(one[name], other[name]) if same else math.inf
        return True

    def ordered(self) -> tuple[TensorError, ...]:
        """The errors so far, in the order in which the tensors are computed."""
        return tuple((n, self.errors[n]) for n in self._flow.tensors if n in self.errors)

    def before(self, tensor: str) -> float:
        """The largest error of the seen tensors that `tensor` is computed from most directly."""
        seen = self._flow.ancestors(tensor) & self.errors.keys()
        direct = seen - self._flow.ancestors(*seen)
        return max((self.errors[name] for name in direct), default=0.0)

    def first_jump(self, floor: float) -> tuple[str, float] | None:
        """The first tensor that is wrong, and the error above which a tensor is wrong."""
        seen = [name for name, _ in self.ordered()]
        for name in seen:
            base, error = max(self.before(name), floor / RATIO), self.errors[name]
            limit = base * min(math.sqrt(error / base), 10.0)
            right = [other for other in seen if self.errors[other] <= limit]
            if error >= RATIO * base and name not in self._flow.ancestors(*right):
                return name, limit
        return None
