"""Mends a file: change by change, until no mender finds any more."""

import shutil
import tempfile
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from conformance.mending.layout import Step
from conformance.mending.menders import Change, changes
from conformance.submission.graph import Graph, Value, read_graph
from reference.errors import SubmissionError, ToolError
from reference.process import ChildError, ChildProcess, Limits, Tick
from reference.tracks import Part, Track

_CHILD, _TOOL = "conformance.mending.child", "our own mender"
_MOST_ROUNDS = 8  # each has what the one before has shown


@dataclass(frozen=True)
class Mended:
    """A mended model: its file, what was changed in order, and what it was."""

    path: Path
    changes: tuple[Change, ...]
    before: Graph

    def feeds(self, feeds: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        """What the model of before is fed in place of what the mended one is: the same through
        every change. What nothing read is zeros.
        """
        for change in reversed(self.changes):
            match change.do:
                case "rename":
                    old = {new: name for name, new in change.arguments["names"].items()}
                    feeds = {old.get(name, name): array for name, array in feeds.items()}
                case "take":
                    name = change.arguments["name"]
                    feeds = feeds | {name: _through(change, feeds[name])}
        return {value.name: feeds.get(value.name, _zeros(value)) for value in self.before.inputs}

    def answer(self, outputs: Sequence[np.ndarray]) -> np.ndarray:
        """What the mended model would answer, of what the model of before does."""
        place = 0
        for change in self.changes:
            place = change.arguments["place"] if change.do == "keep_output" else place
        answer = outputs[place]
        for change in self.changes:
            answer = _through(change, answer) if change.do == "give" else answer
        return answer


def mend(
    graph: Graph, track: Track, part: Part, target: Path, limits: Limits, tick: Tick
) -> Mended:
    """The model of `graph`, mended as `part` of `track`, in the file `target`, whose folder must
    exist; a model without external weights in which there is nothing to mend is there as it was.

    It is changed in a child process with `limits`. External weights come into the file, or above
    2 GiB into one beside it. Raises SubmissionError where it cannot be changed.
    """
    path, before, name = graph.path, graph, graph.path.name
    made: list[Change] = []
    fruitless: list[Change] = []
    with (
        tempfile.TemporaryDirectory(dir=target.parent) as folder,
        ChildProcess(_CHILD, f"mending {name}", Path(folder), tick, limits, tool=_TOOL) as process,
    ):
        for number in range(_MOST_ROUNDS):
            wanted = [each for each in changes(track, part, graph) if each not in fruitless]
            if not wanted:
                break
            draft = Path(folder) / f"{number}.onnx"
            asked = [{"do": each.do, "arguments": _plain(each.arguments)} for each in wanted]
            done = _ask(process, name, "change", source=path, target=draft, changes=asked)["made"]
            for change, was in zip(wanted, done, strict=True):
                (made if was else fruitless).append(change)
            if any(done):
                path, graph = draft, read_graph(draft, limits, tick)
        else:
            raise ToolError(f"mending {name} does not come to an end")
        if before.external:
            weights = before.path.resolve().parent
            _ask(process, name, "finish", source=path, weights=weights, target=target)
        else:
            shutil.copyfile(path, target)
    return Mended(target, tuple(made), before)


def _ask(process: ChildProcess, name: str, do: str, **arguments: Any) -> dict[str, Any]:
    plain = {k: str(v) if isinstance(v, Path) else v for k, v in arguments.items()}
    try:
        return process.ask(do, **plain)
    except ChildError as error:
        raise SubmissionError(
            f"{name} cannot be mended: {error}", "check it with onnx.checker"
        ) from None


def _plain(arguments: dict[str, Any]) -> dict[str, Any]:
    steps = arguments.get("steps")
    return arguments if steps is None else {**arguments, "steps": [asdict(s) for s in steps]}


def _through(change: Change, array: np.ndarray) -> np.ndarray:
    steps: Sequence[Step] = change.arguments["steps"]
    for step in steps:
        array = step.on(array)
    return array


def _zeros(value: Value) -> np.ndarray:
    return np.zeros([size or 1 for size in value.shape or ()], value.dtype)
