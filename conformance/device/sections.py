"""What a report shows of a device: its answers, and what it measured."""

from collections.abc import Iterator

from conformance.contract.sections import differences
from conformance.device.evidence import DeviceEvidence
from conformance.report.document import Section, Table


def device_sections(label: str, e: DeviceEvidence) -> Iterator[Section]:
    """Of a submission called `label` on one device."""
    mine = e.kept("photo", "text")
    if mine:
        kind = "the local AI Hub's emulation of " if e.device.emulated else ""
        yield from differences(label, f"{kind}{e.device.name}", e.host, mine)
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
    yield Section("latency", "Latency against budget", label, tables=(table,))
