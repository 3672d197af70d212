"""The names that a misspelt one may stand for."""

import difflib
from collections.abc import Iterable

from reference.errors import SubmissionError


def closest(name: str, known: Iterable[str], most: int = 3, likeness: float = 0.6) -> list[str]:
    """The `known` names that are like `name`, whatever its case, the most like it first.

    `likeness` is the least ratio of difflib's SequenceMatcher.
    """
    by_lower = {each.lower(): each for each in known}
    found = difflib.get_close_matches(name.lower(), by_lower, n=most, cutoff=likeness)
    return [by_lower[each] for each in found]


def did_you_mean(name: str, known: Iterable[str], most: int = 3) -> str:
    """`did you mean depth or depth-2025?`, empty where no `known` name is like `name`."""
    found = closest(name, known, most)
    return f"did you mean {' or '.join(found)}?" if found else ""


def unknown(problem: str, name: str, known: Iterable[str]) -> SubmissionError:
    """The error for a `name` that is none of `known`: the closest ones, or else all."""
    names = list(known)
    remedy = did_you_mean(name, names) or f"choose one of: {', '.join(names)}"
    return SubmissionError(problem, remedy)
