"""How much of a change is noise, by kind of entry, and where each figure is from."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase

from reference.errors import SubmissionError


@dataclass(frozen=True)
class Noise:
    """The largest change that means nothing, for the entries that `pattern` matches.

    Of numbers, a share of the recorded one where it is `relative`. Of answers and nodes, a count.
    Of outputs, standard deviations of the recorded one.
    """

    pattern: str
    bound: float
    source: str
    relative: bool = False


_HOST = (
    "measured on the references, one machine with AVX-512: runs of one onnxruntime are equal;"
    " 1.20.1 and 1.22.1 are within 1.2e-4 of 1.31.1 (segmentation, 1e-5 elsewhere); the rest is"
    " room for other processors, which were not measured"
)
_EMULATED = (
    "runs of one version are equal; between versions less than float16 itself costs a depth map,"
    " 0.004 at a standard deviation of 0.14"
)
_PLAN = "the compiler's plan of one version is exact; room for its choices between versions"
_PARITY = "the emulator is exact; room for the host's side, as measured for outputs"

# The first that matches counts.
_NOISE = (
    Noise("rules/*", 0, "a rule is kept or broken"),
    Noise("npu rules/*", 0, "a rule is kept or broken"),
    Noise("outputs/*", 2e-3, _HOST),
    Noise("npu outputs/*", 0.02, _EMULATED),
    Noise("compiled/*/compiles", 0, "a model compiles or not"),
    Noise("compiled/*/CPU nodes", 0, "an operator is on the NPU or not"),
    Noise("compiled/*/simulated", 0.05, _PLAN, relative=True),
    Noise("compiled/*", 0.02, _PLAN, relative=True),
    Noise("parity/*/cosine", 1e-5, _PARITY),
    Noise("parity/*/psnr", 1, _PARITY),
    Noise("parity/*/*_error", 0.2, _PARITY, relative=True),
    Noise("parity/*/margin", 0.2, _PARITY, relative=True),
    Noise("parity/*/top10", 0.1, "one neighbour of ten"),
    Noise("parity/*", 1e-3, _PARITY),
    Noise("latency/*", 0.05, "beside the interval of its own profile jobs", relative=True),
    Noise("scores/*", 0, "beside the interval of the score"),
    Noise("*", 0, "nothing is known of its noise"),
)


def noise_of(key: str) -> Noise:
    """What is noise for the entry called `key`."""
    return next(noise for noise in _NOISE if fnmatchcase(key, noise.pattern))


def read_tolerances(given: Sequence[str]) -> list[tuple[str, float]]:
    """The patterns and bounds of `--tolerance ENTRY=VALUE`; `inf` tolerates anything.

    Raises SubmissionError for anything else.
    """
    found = []
    for text in given:
        pattern, separator, number = text.rpartition("=")
        try:
            bound = float(number)
        except ValueError:
            bound = math.nan
        if not separator or not pattern or math.isnan(bound) or bound < 0:
            raise SubmissionError(
                f"--tolerance {text!r} is not ENTRY=VALUE",
                "write the entry's key, where * stands for anything, and a number or inf:"
                " --tolerance 'outputs/*=0.01'",
            )
        found.append((pattern, bound))
    return found
