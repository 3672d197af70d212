"""What JUnit XML has of each item: lines of its output, for xunit2 has no properties of a test."""

from typing import Any
from xml.etree import ElementTree as ET

import pytest
from _pytest.junitxml import xml_key  # pytest has no other way to an item's output

from conformance.report.terminal import facts_of
from reference.errors import printable


class JunitFacts:
    """Adds what an item has found to its testcase: a line `name: value` for each fact."""

    def __init__(self, xml: Any) -> None:
        self._xml = xml

    @pytest.hookimpl(trylast=True)  # after the testcase has been made
    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Takes the facts of a call."""
        if facts := facts_of(report):
            output = ET.Element("system-out")
            output.text = printable("\n".join(f"{name}: {value}" for name, value in facts.items()))
            self._xml.node_reporter(report).append(output)


def follow_junit(config: pytest.Config) -> None:
    """Has the facts of a run in its XML, if it writes one."""
    xml = config.stash.get(xml_key, None)
    if xml is not None:
        config.pluginmanager.register(JunitFacts(xml), "lpcvc-junit")
