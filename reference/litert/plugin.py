"""What Qualcomm's plugin for LiteRT says while it compiles, as plain values."""

import re
from collections import Counter
from collections.abc import Iterator, Sequence

from reference.errors import one_line
from reference.litert.network import DISPATCH, Network
from reference.npu.devices import Device
from reference.npu.trace import CpuNode, Node, Placement, find_generated, find_remedy

# What the plugin calls a chip where that is not what the compiler calls it.
_SOCS = {"QCS6490": "QCM6490"}
_SAYS = re.compile(r"<E> (?:\[\d+\] )?(?P<text>.*)")
_STARTED = re.compile(r"QnnBackend_validateOpConfig started")
_FAILED = re.compile(r"Failed to validate op (?P<op>\S+) with error")
_QNN = re.compile(r"QNN op validation failed: '(?P<op>[^']*)' \((?P<what>.*)\)$")
_REFUSED = re.compile(r"LiteRT Op #(?P<index>\d+) '(?P<kind>[^']*)' .*is not supported")
_NONE = re.compile(r"Partitioned subgraph<0>, selected 0 ops")
# Said of every operator that is refused, with or without a better reason.
_EMPTY_WORDS = re.compile(r"QnnBackend_validateOpConfig failed|GraphHtpSettings")
_UNKNOWN = "the plugin does not know the operator"
_ALONE = "the plugin left it to the CPU"


def soc_name(device: Device) -> str:
    """What the plugin calls the chip of `device`; it has the same `soc_model`."""
    return _SOCS.get(device.soc, device.soc)


def read_placement(before: Network, after: Network, log: str, npu_ops: int) -> Placement:
    """Where each operator runs: of `before`, the model, and of `after`, what was made of it.

    `log` is the plugin's. An operator keeps the name of its first output. `npu_ops` is the number
    of NPU operators that they became.
    """
    reasons = dict(_refusals(log))
    left = Counter((o.kind, o.name) for o in after.operators if o.kind != DISPATCH)
    npu, cpu = [], []
    for index, operator in enumerate(before.operators):
        if not left[operator.kind, operator.name]:
            npu.append(Node(one_line(operator.name), operator.kind))
            continue
        left[operator.kind, operator.name] -= 1
        reason = reasons.get(index, _ALONE)
        remedy = find_remedy(reason)
        cpu.append(CpuNode(one_line(operator.name), operator.kind, one_line(reason), remedy))
    return Placement(tuple(npu), tuple(cpu), npu_ops)


def _refusals(log: str) -> Iterator[tuple[int, str]]:
    """Operators that the plugin refused, by their number, and why.

    The compiler says first why it refuses which operator of its own, and the plugin afterwards for
    which operator of TFLite that was.
    """
    said = dict(_validator(log))
    reason = ""
    for line in log.splitlines():
        if match := _QNN.search(line.strip()):
            reason = said.get(match["op"]) or f"the compiler refuses its {match['what']}"
        elif match := _REFUSED.search(line):
            yield int(match["index"]), reason or _UNKNOWN
            reason = ""


def _validator(log: str) -> Iterator[tuple[str, str]]:
    """The compiler's words on its operators, by their names."""
    words: list[str] = []
    for line in log.splitlines():
        if match := _FAILED.search(line):
            yield match["op"], "; ".join(dict.fromkeys(words))
            words = []
        elif _STARTED.search(line):
            words = []
        elif (match := _SAYS.search(line)) and not _EMPTY_WORDS.search(line):
            words.append(match["text"].strip().rstrip("."))


def selected_none(log: str) -> bool:
    """Whether the plugin left everything to the CPU, which it takes for an error."""
    return _NONE.search(log) is not None


def find_failure(log: str) -> str:
    """Why the plugin made nothing: what the compiler says of an operator that it had accepted, else
    the plugin's first error that is no refusal of an operator.
    """
    if generated := find_generated(log):
        return f"the compiler says of {generated[0]}: {generated[1]}"
    lines = [line.strip() for line in log.splitlines()]
    errors = [_told(lines[index:]) for index, line in enumerate(lines) if line.startswith("ERROR:")]
    return one_line(next(filter(None, errors), "it says nothing of why"), 300)


def _told(lines: Sequence[str]) -> str:
    text = lines[0].partition("]")[2].strip() or (lines[1] if len(lines) > 1 else "")
    return "" if _QNN.search(text) or _REFUSED.search(text) else text
