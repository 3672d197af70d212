"""Reads what the compiler writes, its log, operator trace and profile, into plain values."""

import csv
import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self

from reference.errors import one_line

NPU = "QNNExecutionProvider"

# What the compiler says of a node, and what to do about it. Measured with QAIRT 2.51.
_REMEDIES = (
    (
        r"SocModel doesn't support FP16",
        "quantise the model to int8 (w8a8), or choose a device with float16",
    ),
    (r"Cannot get shape", "export with a fixed size for every dimension, the batch too"),
    (r"shape must be static", "write it as arithmetic on tensors of fixed shape"),
    (r"incorrect Rank", "merge axes, so that the operator sees tensors of fewer dimensions"),
    (r"FP64", "keep inputs, constants and casts in float32"),
    (r"ReduceMin.*could not create op", "write y.amin(...) as -(-y).amax(...)"),
    (
        r"could not create op",
        "write it or what stands behind it in another way: by itself, the compiler takes it",
    ),
    (r"Failed to (compose|finalize)", "make its largest tensors smaller, and remove empty ones"),
    (r"Operators of type `(Loop|Scan)`", "unroll the loop before the export"),
)
# What the compiler says of an operator once it has taken the graph.
_GENERATED = re.compile(r'<E> "(?P<op>[^"]+)" generated: (?P<why>.+)')
# The codes that it ends with are the same as for a graph that it does not master.
_SHORTAGE = re.compile(r"ERROR:(?P<what>.*(std::bad_alloc|Error creating thread: 11)\b)")
# Said of every node that is refused, with or without a better reason.
_EMPTY_WORDS = re.compile(
    r"QnnBackend_validateOpConfig failed|Failed to validate op|GraphHtpSettings"
)
_PASS = re.compile(r"GetCapability pass \d")
_VERDICT = re.compile(r"Validation (PASSED|FAILED) for \d+ nodes")
_ERROR = re.compile(r"<E> (?P<text>.*)")
_NODE = re.compile(r"\s*Operator type: (?P<op>\S+) Node name: (?P<name>.*) Node index: \d+")
_REASON = re.compile(r"\s*REASON : (?P<text>.*)")
_BOUNDS = ("", " (lower estimate)", " (upper estimate)")
_TOKEN = re.compile(r"_token_\d+$")


@dataclass(frozen=True)
class Node:
    """An operator of the graph that the compiler sees, after onnxruntime's own rewriting."""

    name: str
    op: str

    @property
    def label(self) -> str:
        """`Einsum '/head/Einsum'`."""
        return f"{self.op} {self.name!r}"


@dataclass(frozen=True)
class CpuNode(Node):
    """A node that does not run on the NPU: why, in the compiler's words, and what is known to help
    (empty where nothing is).
    """

    reason: str
    remedy: str


@dataclass(frozen=True)
class Placement:
    """Where each node runs, and the number of NPU operators that they became."""

    npu: tuple[Node, ...]
    cpu: tuple[CpuNode, ...]
    npu_ops: int

    @classmethod
    def of(cls, fields: Mapping[str, Any]) -> Self:
        """That of which `dataclasses.asdict` made the fields."""
        npu, cpu = fields["npu"], fields["cpu"]
        nodes = tuple(Node(**node) for node in npu), tuple(CpuNode(**node) for node in cpu)
        return cls(*nodes, fields["npu_ops"])


@dataclass(frozen=True)
class Traffic:
    """Bytes between the NPU and DDR memory for one inference, as the compiler plans them.

    `spill` and `fill` are intermediate results that do not fit the on-chip memory; they are part of
    `written` and `read`.
    """

    spill: int
    fill: int
    written: int
    read: int


@dataclass(frozen=True)
class SimulatedTime:
    """The compiler's simulation of one inference, in milliseconds with its bounds; no measurement.

    `uncosted` operators have no cost in its model: with any, the time is too low.
    """

    ms: float
    lowest_ms: float
    highest_ms: float
    uncosted: int


def read_placement(assignment: Iterable[Sequence[str]], trace: str, log: str) -> Placement:
    """The placement of a compiled model.

    `assignment` holds (execution provider, node name, operator), `trace` is the text of
    `qnn_op_trace.json` (empty where the compiler wrote none) and `log` its verbose log. Where no
    session could be made there is no assignment, and the CPU's nodes are those that were refused.
    """
    summary = json.loads(trace) if trace else {}
    said = {n["node_name"]: n["reason"] for n in summary.get("unsupported_nodes", ())}
    refused, seen = _read_refusals(log)
    nodes = [(provider, Node(name, op)) for provider, name, op in assignment]
    npu = tuple(_shown(node, seen) for provider, node in nodes if provider == NPU)
    left = [node for provider, node in nodes if provider != NPU] if nodes else list(refused)
    cpu = []
    for node in left:
        reason = refused.get(node) or said.get(node.name) or "the compiler left it to the CPU"
        shown = _shown(node, seen)
        cpu.append(CpuNode(shown.name, shown.op, one_line(reason), find_remedy(reason)))
    return Placement(npu, tuple(cpu), summary.get("summary", {}).get("total_qnn_ops", 0))


def find_remedy(reason: str) -> str:
    """What is known to help against a reason in the compiler's words; empty if nothing is."""
    return next((remedy for words, remedy in _REMEDIES if re.search(words, reason)), "")


def find_generated(log: str) -> tuple[str, str] | None:
    """The operator that the compiler accepted and fails on nevertheless, and why; None without."""
    match = _GENERATED.search(log)
    if match is None:
        return None
    name = match["op"]
    kind = {node["name"]: node["op"] for node in _NODE.finditer(log)}.get(name)
    return one_line(Node(name, kind).label if kind else name), one_line(match["why"], 300)


def find_shortage(log: str) -> str:
    """The memory of the host that the compiler did not get, in its words; empty where it did."""
    match = _SHORTAGE.search(log)
    return one_line(match["what"], 100) if match else ""


def read_traffic(log: str) -> Traffic | None:
    """The sums of the log's DDR summaries, one for each part of the graph; None without any."""
    fields = ("spill_bytes", "fill_bytes", "write_total_bytes", "read_total_bytes")
    found = [[int(n) for n in re.findall(rf"\b{field}=(\d+)", log)] for field in fields]
    return Traffic(*map(sum, found)) if all(found) else None


def read_simulated(profile: str) -> SimulatedTime | None:
    """The simulated time in the profile's CSV, summed over the parts of the graph.

    None where it has none: the compiler simulates few of the chips.
    """
    found: dict[str, list[int]] = {}
    for row in csv.DictReader(profile.splitlines()):
        if row["Time"].isdigit():  # an embedded trace has none
            found.setdefault(row["Event Identifier"], []).append(int(row["Time"]))
    micros = [found.get(f"Simulated (Accelerator exec time us{bound})", []) for bound in _BOUNDS]
    if not all(micros):
        return None
    missing = sum(found.get("Missing Ops (Number of Ops with no Costs associated)", []))
    ms, lowest, highest = (sum(times) / 1000 for times in micros)
    return SimulatedTime(ms, lowest, highest, missing)


def _read_refusals(log: str) -> tuple[dict[Node, str], set[str]]:
    """Why the last pass refused each node, and the names of all nodes before the first rewriting.

    A model passes twice, before and after the change to channels-last; the second counts.
    """
    refused: dict[Node, str] = {}
    first: set[str] = set()
    passes = 0
    errors: list[str] = []
    said: list[str] = []
    unit: list[Node] = []
    for line in log.splitlines():
        if _PASS.search(line):
            passes += 1
            refused, errors = {}, []
        elif match := _ERROR.search(line):
            errors.append(_clean(match["text"]))
        elif _VERDICT.search(line):
            said, errors, unit = errors, [], []
        elif match := _NODE.match(line):
            unit.append(Node(match["name"], match["op"]))
            if passes <= 1:
                first.add(match["name"])
        elif match := _REASON.match(line):
            words = [text for text in dict.fromkeys(said) if not _EMPTY_WORDS.search(text)]
            refused.update(dict.fromkeys(unit, "; ".join(words) or match["text"].strip()))
    return refused, first


def _clean(error: str) -> str:
    """A line of the log without its internal numbers."""
    text = re.sub(r"^\[\d+\] ", "", error.strip().rstrip("."))
    return re.sub(r"validateNativeOps .*:(\w+) failed \d+", r"the validator refuses its \1", text)


def _shown(node: Node, seen: set[str]) -> Node:
    """The node under its name in the file: a rewritten one carries `_token_7` behind it."""
    original = _TOKEN.sub("", node.name)
    return Node(one_line(original if original in seen else node.name), one_line(node.op))
