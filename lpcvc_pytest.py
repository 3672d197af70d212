"""What pip registers with pytest: it takes the suite's plugin into a run that is about the suite.

Other projects' runs import this module and nothing else, and keep their options and markers to
themselves. It stands beside the packages because a stranger may have a `conformance` of their own.
"""

import gc
import os
import sys
from collections.abc import Sequence
from importlib.machinery import ModuleSpec, PathFinder
from importlib.util import find_spec
from itertools import pairwise
from pathlib import Path
from types import ModuleType

import pytest

PLUGIN = "conformance.plugin"

_PACKAGE = Path(__file__).resolve().parent / "conformance"
# A wheel leaves the suite's own tests out: what lies beside it there are strangers.
_HOME = _PACKAGE.parent if (_PACKAGE / "selftest").is_dir() else _PACKAGE


def pytest_addoption(parser: pytest.Parser, pluginmanager: pytest.PytestPluginManager) -> None:
    """Registers the plugin, with its options, where the run is about the suite."""
    config = pluginmanager.get_plugin("pytestconfig")
    if isinstance(config, pytest.Config) and is_about_the_suite(config):
        sys.meta_path.insert(0, _AsWritten)
        gc.freeze()  # what pytest has imported stays: collections need not look at it again
        pluginmanager.import_plugin(PLUGIN)


class _AsWritten:
    """Finds the suite's modules, but for tests, ahead of pytest, which would read the source of all
    that a plugin brings to rewrite its asserts: a second, in each run that writes no bytecode.
    """

    @staticmethod
    def find_spec(
        name: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """Where a module is; None for any but the suite's."""
        first, *below = name.split(".")
        tests = any(word in ("selftest", "tests") or word.startswith("test_") for word in below)
        ours = first in ("conformance", "reference") and not tests
        return PathFinder.find_spec(name, path, target) if ours else None


def is_about_the_suite(config: pytest.Config) -> bool:
    """Whether what pytest is asked to collect is of the suite, or of its checkout.

    That is `--pyargs conformance` or a module of it, a path in the checkout, or neither path nor
    module in a folder of the checkout; on the command line, in PYTEST_ADDOPTS or in an ini file.
    """
    known = config.known_args_namespace
    named = known.file_or_dir or config.getini("testpaths")
    if known.pyargs and any(map(_is_module, named)):
        return True
    here = config.invocation_params.dir
    arguments = [str(argument) for argument in config.invocation_params.args]
    # What follows an option that nobody has defined yet is its value, as a rule.
    values = {value for option, value in pairwise(arguments) if _is_new(option, known)}
    given = [as_path(name) for name in named if name not in values]
    paths = [here / name.partition("::")[0] for name in given]
    collected = [path for path in paths if os.path.exists(path)] or [here]
    return any(Path(os.path.realpath(path)).is_relative_to(_HOME) for path in collected)


def as_path(name: str) -> str:
    """What pytest is asked to collect; with the whole path where it is an item of the suite, by the
    id that pytest shows of what lies outside its root: `contract/test_contract.py::...`.
    """
    file, mark, item = name.partition("::")
    own = _PACKAGE.joinpath(*Path(file).parts[-2:])
    ours = mark and own.name.startswith("test_") and own.is_file() and not os.path.exists(file)
    return f"{own}::{item}" if ours else name


def _is_module(name: str) -> bool:
    """Whether `--pyargs` finds the suite, not another package of its name."""
    top = name.partition("::")[0].partition(".")[0]
    spec = find_spec(top) if top == _PACKAGE.name else None
    return spec is not None and Path(spec.origin or "").resolve().parent == _PACKAGE


def _is_new(option: str, known: object) -> bool:
    return option.startswith("--") and not hasattr(known, option[2:].replace("-", "_"))
