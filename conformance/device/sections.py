"""What a report shows of a device: its answers, and what it measured."""

from collections.abc import Iterator

from conformance.contract.sections import HOST, broken_values, differences
from conformance.device.evidence import DeviceEvidence
from conformance.report.document import Section, Table
from conformance.report.estimate_charts import latency_chart


def device_sections(label: str, e: DeviceEvidence) -> Iterator[Section]:
    """Of a submission called `label` on one device."""
    mine = e.kept("photo", "text")
    if mine:
        kind = "the local AI Hub's emulation of " if e.device.emulated else ""
        where = f"{kind}{e.device.name}"
        yield from broken_values(label, where, e.track, e.kept(), compiled=True)
        yield from differences(label, HOST, where, e.host, mine)
    yield from latency(label, e)


def latency(label: str, e: DeviceEvidence) -> Iterator[Section]:
    """What the device measured, against the budget."""
    measured, baseline = e.kept_latency, e.kept_baseline
    if measured is None or e.device.emulated:
        return
    budget = e.track.budget_ms or (baseline.median if baseline else None)
    limit = "none" if budget is None else f"{budget:.4g} ms"
    rows = ((e.device.name, str(measured), limit, e.track.budget),)
    columns = ("device", "measured", "budget", "in words")
    table = Table("Latency of one inference, all parts", columns, rows)
    known = {e.device.name: (measured.median, measured.low, measured.high)}
    chart = latency_chart("Measured, from the fastest to the slowest profile job", known, budget)
    yield Section("latency", "Latency against budget", label, tables=(table,), charts=(chart,))
