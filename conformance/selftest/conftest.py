"""Slow proof runs when it is asked for by name."""

import pytest


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if "slow" not in config.getoption("markexpr"):
        skip = pytest.mark.skip(reason="takes long: run it with -m slow")
        for item in items:
            if item.get_closest_marker("slow"):
                item.add_marker(skip)
