"""What several of these tests start from."""

import contextlib
import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import settings

from conformance.contract import evidence
from conformance.runtimes.child import ModelChild
from conformance.runtimes.process import ModelProcess
from reference.child import _plain, failure
from reference.errors import SubmissionError, ToolError
from reference.process import ChildError, Limits, Pass, Tick

# No test fails for a slow machine.
settings.register_profile("untimed", deadline=None)
settings.load_profile("untimed")


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty working directory."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture(scope="session", autouse=True)
def _children_of_pytest() -> Iterator[None]:
    """A session in a child starts with the suite's plugin alone: those of hypothesis, anyio and
    others are two thirds of what it takes to start.
    """
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")
        patch.setenv("PYTEST_ADDOPTS", "-p lpcvc -p no:cacheprovider")
        yield


@pytest.fixture(scope="module")
def _idle() -> Iterator[dict[str, ModelProcess]]:
    idle: dict[str, ModelProcess] = {}
    yield idle
    for process in idle.values():
        process.__exit__()


@pytest.fixture
def one_process(_idle: dict[str, ModelProcess]) -> Iterator[None]:
    """Lets the models of a file of tests run one after the other in one child for each working
    directory, anew after a crash: its start and imports are most of what a small model costs.
    """
    start, end = ModelProcess.__init__, ModelProcess.__exit__

    def lend(
        own: ModelProcess,
        name: str,
        folder: Path,
        tick: Tick,
        limits: Limits,
        *,
        torch: bool = False,
    ) -> None:
        kept = _idle.pop(os.getcwd(), None) if limits == Limits() else None
        if kept is not None:
            vars(own).update(vars(kept), name=name, _tick=tick, stage=None, built_anew="")
        else:
            start(own, name, folder, tick, limits, torch=torch)
        own.place = os.getcwd() if limits == Limits() else ""

    def give_back(own: ModelProcess, *error: object) -> None:
        if own.place and own.place not in _idle and own.alive:
            _idle[own.place] = own
        else:
            end(own, *error)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ModelProcess, "__init__", lend)
        patch.setattr(ModelProcess, "__exit__", give_back)
        yield
    for place in _idle.keys() - {os.getcwd()}:
        _idle.pop(place).__exit__()


class _InThisProcess(ModelProcess):
    """Loads and runs a model here, and hands its arrays on without a file."""

    def __init__(
        self, name: str, folder: Path, tick: Tick, limits: Limits, *, torch: bool = False
    ) -> None:
        self.name, self._child = name, ModelChild()

    def __exit__(self, *_: object) -> None:
        pass

    def ask(self, do: str, **arguments: Any) -> dict[str, Any]:
        with _told():
            return getattr(self._child, do)(**arguments)

    def run(self, feeds: dict[str, np.ndarray], folder: Path) -> Pass:
        start = time.perf_counter()
        with _told():
            outputs = self._child._run(feeds)
        return Pass(tuple(map(_plain, outputs)), time.perf_counter() - start)


@contextlib.contextmanager
def _told() -> Iterator[None]:
    try:
        yield
    except (SubmissionError, ToolError):
        raise
    except Exception as error:
        raise ChildError(failure(error)["problem"]) from None


@pytest.fixture
def in_this_process() -> Iterator[None]:
    """Lets models that are known to crash nothing run in no child at all."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(evidence, "ModelProcess", _InThisProcess)
        yield
