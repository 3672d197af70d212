"""What a report shows of the NPU: its answers, where each node runs, and how fast it might be."""

from collections.abc import Iterator

from conformance.contract.sections import HOST, broken_values, differences
from conformance.npu.evidence import NpuEvidence
from conformance.report.document import NOT_MEASURED, Section, Table
from conformance.report.estimate_charts import estimates_chart, layer_times
from conformance.runtimes.npu import Made
from conformance.submission.graph import megabytes
from reference.errors import SubmissionError
from reference.npu.devices import find_device
from reference.npu.latency import Estimate
from reference.npu.simulation import SIMULATED_DEVICE

_NODES_SHOWN = 20


def npu_sections(label: str, e: NpuEvidence) -> Iterator[Section]:
    """Of a submission called `label` on the NPU of one device."""
    npu, mine = f"the emulated NPU of {e.device.name}", e.kept("photo", "text")
    yield from broken_values(label, npu, e.track, e.kept(), compiled=True)
    if mine:
        yield from differences(label, HOST, npu, e.host, mine)
    yield from placement(label, e)
    yield from estimates(label, e)


def placement(label: str, e: NpuEvidence) -> Iterator[Section]:
    """Where each node runs, and what the compiler says of it."""
    compiled = {n: c for n, c in e.kept_compiled.items() if not isinstance(c, SubmissionError)}
    if not compiled:
        return
    left = [(name, node) for name, c in compiled.items() for node in c.placement.cpu]
    tables = [_placement_table(compiled)]
    if left:
        shown = left[:_NODES_SHOWN]
        more = f", the first {len(shown)} of {len(left)}" if len(left) > len(shown) else ""
        rows = tuple(
            (node.name or "unnamed", part, node.op, node.reason, node.remedy or "not known")
            for part, node in shown
        )
        columns = ("node", "part", "operator", "reason", "remedy")
        tables.append(Table(f"Nodes left to the CPU{more}", columns, rows))
    yield Section(
        "placement",
        f"Placement on {e.device.name}",
        label,
        (
            f"{next(iter(compiled.values())).toolchain}. Simulated is the compiler's own"
            f" estimate. Latency on a device: {NOT_MEASURED}.",
        ),
        tables=tuple(tables),
    )


def estimates(label: str, e: NpuEvidence) -> Iterator[Section]:
    """How fast a device might be beside the budget, and what takes the time in the simulation,
    where the NPU's rules asked.
    """
    found = {part: own for part, own in e.kept_estimates.items() if isinstance(own, Estimate)}
    if not found:
        return
    chart = estimates_chart(found, e.track.budget_ms)
    schedules = {part: own.schedule for part, own in found.items() if own.schedule}
    layers = (layer_times(part, schedule) for part, schedule in schedules.items())
    notes = [own.summary for own in found.values()]
    if schedules:
        notes.append(
            "The times of operators are simulated by Qualcomm's compiler for the"
            f" {find_device(SIMULATED_DEVICE).soc}, not measured; those that it fuses count as the"
            " last of them."
        )
    charts = tuple(drawn for drawn in (chart, *layers) if drawn)
    title = f"Estimated latency on {e.device.name}"
    yield Section("estimate", title, label, tuple(notes), charts=charts)


def _placement_table(compiled: dict[str, Made]) -> Table:
    columns = (
        "part",
        "compiles",
        "nodes on NPU",
        "NPU operators",
        "nodes on CPU",
        "binary",
        "DDR read",
        "DDR written",
        "of it spill and fill",
        "simulated",
    )
    rows = []
    for name, c in compiled.items():
        size = megabytes(c.binary.stat().st_size) if c.binary.exists() else "none"
        traffic = ["not available"] * 3
        if c.traffic:
            bytes_moved = (c.traffic.read, c.traffic.written, c.traffic.spill + c.traffic.fill)
            traffic = [megabytes(n) for n in bytes_moved]
        time = c.simulated
        rows.append(
            (
                name,
                "no" if c.failure else "whole" if c.whole else "partly",
                str(len(c.placement.npu)),
                str(c.placement.npu_ops),
                str(len(c.placement.cpu)),
                size,
                *traffic,
                f"{time.ms:.3g} ms ({time.lowest_ms:.3g}..{time.highest_ms:.3g})"
                if time
                else "not available",
            )
        )
    return Table("What the compiler made", columns, tuple(rows), right=tuple(range(2, 9)))
