"""For a checkout: says what is missing where the project is not installed."""

import pytest


def pytest_configure(config: pytest.Config) -> None:
    """The options of the suite come from its plugin, which pip registers."""
    if not config.pluginmanager.has_plugin("lpcvc"):
        raise pytest.UsageError(
            "the lpcvc plugin is not installed; pip install -c constraints.txt -e '.[dev]'"
        )
