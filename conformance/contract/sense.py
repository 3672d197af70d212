"""Whether the answers of one part of a submission make sense, on the host, the NPU and a device
alike: of what is found here no score can be made.
"""

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import combinations

import numpy as np

from conformance.contract.evidence import Run
from conformance.contract.look import is_finite, told_apart, value_range
from conformance.contract.probes import Probe, Role
from reference.tracks import Part, format_shape

# Of the depth's range: what tells sky from ground, or a surface from a flat map.
CLEAR = 0.1
# Of a mask: what float16 alone may flip.
FLIPPED = 1e-3
_FED: tuple[Role, ...] = ("photo", "text", "retext", "repicture")


@dataclass(frozen=True)
class Nonsense:
    """What is wrong with answers: of what `kind`, in words, and with the answer to which probe."""

    kind: str
    expected: str
    seen: str
    where: str


def is_zero(answer: np.ndarray) -> bool:
    """Whether an answer is all zeros."""
    return not answer.any()


def contrast(depth: np.ndarray) -> float:
    """The share of the range of a depth map that the middle 90 % of its pixels span; 0 if flat."""
    values = np.sort(depth, axis=None).astype(np.float64)
    low, high = values[0], values[-1]
    if not high > low:
        return 0.0
    # np.quantile imports masked arrays.
    q05, q95 = np.interp(np.array([0.05, 0.95]) * (len(values) - 1), np.arange(len(values)), values)
    return float((q95 - q05) / (high - low))


def covered(mask: np.ndarray) -> float:
    """The share of a mask's pixels that are set."""
    return float(np.mean(mask > 0.5))


def nonsense(runs: Iterable[Run], *, nearly: bool = False) -> list[Nonsense]:
    """What makes no sense in the finite answers of one part to photographs and texts.

    A zero or constant embedding, flat depth, constant logits, masks that are all empty or full, and
    one answer to all photographs under one text, or to all texts with one photograph. `nearly` also
    counts what the rounding of float16 may turn into that.
    """
    judged = [run for run in _of_contract(runs) if is_finite(run)]
    found = []
    if all(run.part.output.kind == "binary" for run in judged):
        found += _one_sided(judged, nearly)
    else:
        found += [each for run in judged if (each := _constant(run, nearly))][:1]
    if not found:  # constant answers are the same too
        found += _unread(judged, "picture", nearly) + _unread(judged, "text", nearly)
    return found


def lost(there: Iterable[Run], host: Iterable[Run]) -> list[tuple[Nonsense, str, str]]:
    """What makes no sense `there` in answers of one part that make sense on the host, each with the
    range of the answers there and of the host's to the same probes.
    """
    there = _of_contract(there)
    asked = {run.probe.name for run in there}
    host = [run for run in _of_contract(host) if run.probe.name in asked]
    if not host or not all(map(is_finite, host)):
        return []
    known = {each.kind for each in nonsense(host, nearly=True)}
    if "constant" in known:
        return []
    found = [each for each in nonsense(there) if each.kind not in known]
    return [(each, value_range(there), value_range(host)) for each in found]


def _of_contract(runs: Iterable[Run]) -> list[Run]:
    """The answers to photographs and texts as the track feeds them."""
    return [run for run in runs if run.probe.role in _FED]


def _constant(run: Run, nearly: bool) -> Nonsense | None:
    x = run.output
    if run.part.output.kind == "depth":
        return _flat_depth(run, nearly)
    if is_zero(x):
        seen = f"all zeros, {x.dtype} {format_shape(x.shape)}"
        return Nonsense("constant", "an answer that is not zero", seen, run.where)
    if x.size > 1 and x.min() == x.max():
        seen = f"{x.flat[0]:g} everywhere, {x.dtype} {format_shape(x.shape)}"
        return Nonsense("constant", "an answer of several values", seen, run.where)
    return None


def _flat_depth(run: Run, nearly: bool) -> Nonsense | None:
    share = contrast(run.output)
    if share >= (CLEAR if nearly else CLEAR / 2):
        return None
    low, high = run.output.min(), run.output.max()
    seen = f"flat: the middle 90 % span {share:.2g} of {low:.3g}..{high:.3g}"
    return Nonsense("constant", f"a share of {CLEAR:g}", seen, run.where)


def _one_sided(runs: Sequence[Run], nearly: bool) -> list[Nonsense]:
    least = FLIPPED if nearly else 0.0
    shares = {run.where: covered(run.output) for run in runs}
    if not shares or any(least < share < 1 - least for share in shares.values()):
        return []
    kinds = {"full" if share > 0.5 else "empty" for share in shares.values()}
    seen = f"{' or '.join(sorted(kinds))} masks for all {len(runs)} probes"
    return [Nonsense("constant", "a mask of some of the pixels", seen, runs[0].where)]


def _unread(runs: Sequence[Run], what: str, nearly: bool) -> list[Nonsense]:
    """Where all pairs of probes that differ in `what` alone have one answer."""
    pairs = list(_pairs(runs, what))
    if not pairs or any(_differ(a, b, nearly) for a, b in pairs):
        return []
    seen = f"one answer to {len({id(run) for pair in pairs for run in pair})} different {what}s"
    return [Nonsense(what, f"an answer that depends on the {what}", seen, pairs[0][0].where)]


def _differ(a: Run, b: Run, nearly: bool) -> bool:
    if nearly and a.part.output.kind == "binary":
        return bool(np.mean(a.output != b.output) > FLIPPED)
    return told_apart(a, b)


def _pairs(runs: Sequence[Run], what: str) -> Iterator[tuple[Run, Run]]:
    """Pairs of answers of one shape to probes that differ in the picture alone, or in the text."""
    fed = [(run, *_fed(run.part, run.probe)) for run in runs]
    for (a, picture, text), (b, other_picture, other_text) in combinations(fed, 2):
        differs = (picture != other_picture, text != other_text)
        if a.output.shape == b.output.shape and differs == (what == "picture", what == "text"):
            yield a, b


@lru_cache(maxsize=64)
def _fed(part: Part, probe: Probe) -> tuple[str, str]:
    """What tells the picture and the text of a probe from others; empty where it has none."""
    feeds = probe.feeds()
    names = [str(tensor.name) if tensor else "" for tensor in (part.image, part.text)]
    image, text = (
        hashlib.sha256(feeds[name].tobytes()).hexdigest() if name in feeds else "" for name in names
    )
    return image, text
