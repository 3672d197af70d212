"""For a checkout: what every test of it has in common."""

import os
import re
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).parent


def pytest_configure(config: pytest.Config) -> None:
    """The options of the suite come from its plugin, which pip registers."""
    if not config.pluginmanager.has_plugin("lpcvc") and not _is_ours(config):
        raise pytest.UsageError(
            "the lpcvc plugin is not installed; pip install -c constraints.txt -e '.[dev]'"
        )
    if hasattr(config, "workerinput"):
        # A worker of pytest-xdist may inherit the size that readline gave to the terminal.
        for name in ("COLUMNS", "LINES"):
            os.environ.pop(name, None)


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """Keeps the tests of this checkout out of the run of a project that has it in a folder, and
    those of the project itself, which import PyTorch, out of one that asks for a suite.
    """
    if not _is_ours(config):
        return True
    from conformance.marker import WINGS

    words = set(re.findall(r"\w+", config.option.markexpr))
    beside = collection_path.parent == HERE and collection_path.name != "conformance"
    return True if beside and words and words <= {*WINGS, "or"} else None


def _is_ours(config: pytest.Config) -> bool:
    plugin = sys.modules.get("conformance.plugin")
    return plugin is not None and config.pluginmanager.is_registered(plugin)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Slow proof runs when it is asked for by name."""
    if "slow" not in config.getoption("markexpr"):
        skip = pytest.mark.skip(reason="takes long: run it with -m slow")
        for item in items:
            if item.get_closest_marker("slow"):
                item.add_marker(skip)
