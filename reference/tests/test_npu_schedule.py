"""The simulated schedule, read from traces made by hand and from the compiler's own."""

import json
import struct
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reference.cache import Cache
from reference.npu.compile import compile_model
from reference.npu.devices import find_device
from reference.npu.schedule import DMA, MATRIX, SCALAR, VECTOR, Operator, Schedule, read_schedule
from reference.tests import npu_models as models
from reference.tests.npu_models import needs_compiler, save

FLAGS = {MATRIX: "uses_hmx", VECTOR: "for_hvx", DMA: "for_dma", SCALAR: "scalar"}


def event(unit: str, number: int, start: int, length: int, moved: int = 0) -> dict:
    widths = {"dram_read": moved, "dram_write": 0}
    facts = {"id": hex(0x4100000000 | number), "flags": [FLAGS[unit]], "bw_info": widths}
    return {"name": "q::x", "ph": "X", "ts": start, "dur": length, "args": facts}


def trace(**kinds: str) -> str:
    mappings = [{"dst_name": name, "dst_qnn_op_type": kind} for name, kind in kinds.items()]
    return json.dumps({"subgraph_traces": [{"op_mappings": mappings}]})


def binary(**numbers: int) -> bytes:
    records = [
        struct.pack("<III", number, 4, len(name)) + name.encode()
        for name, number in numbers.items()
    ]
    return b"\xff" * 32 + b"\0\0\xff\xff".join(records) + b"\0"


def read(events: list[dict], ms: float = 1.0, **operators: tuple[int, str]) -> Schedule:
    counter = {"name": "TCM usage", "ph": "C", "ts": 0, "args": {"Bytes": 1}}
    profile = b"\x01\x02{" + b'"traceEvents": ' + json.dumps([counter, *events]).encode() + b"\xfe"
    found = read_schedule(
        profile,
        trace(**{name: kind for name, (_, kind) in operators.items()}),
        binary(**{name: number for name, (number, _) in operators.items()}),
        ms,
    )
    assert found is not None
    return found


def test_busy_time_of_each_unit() -> None:
    events = [
        event(MATRIX, 20, 0, 40),
        event(MATRIX, 21, 20, 40),  # together 60 of 100
        event(VECTOR, 22, 0, 100),
        event(VECTOR, 22, 0, 100),  # two of four threads
        event(DMA, 2, 10, 30, moved=4096),
        event(SCALAR, 22, 0, 5),
    ]
    found = read(events, 2.0, conv=(20, "Conv2d"), relu=(21, "Relu"), add=(22, "Add"))
    busy = (found.matrix, found.vector, found.dma, found.scalar)
    assert busy == pytest.approx((1.2, 1.0, 0.6, 0.1))
    assert found.kinds == {"Conv2d": 1, "Relu": 1, "Add": 1}


def test_a_moment_is_shared_by_what_computes() -> None:
    events = [
        event(DMA, 2, 0, 100, moved=7),  # alone from 60 on
        event(MATRIX, 20, 0, 40),
        event(VECTOR, 21, 20, 40),
        event(VECTOR, 21, 20, 40),
    ]
    found = read(events, 100.0, conv=(20, "Conv2d"), add=(21, "Add"))
    assert found.operators == (
        Operator("(input)", "read", DMA, 40.0, 7),
        Operator("conv", "Conv2d", MATRIX, 30.0, 0),
        Operator("add", "Add", VECTOR, 30.0, 0),
    )


def test_an_operator_that_the_binary_does_not_name() -> None:
    (operator,) = read([event(MATRIX, 99, 0, 10)], conv=(20, "Conv2d")).operators
    assert (operator.name, operator.op, operator.ms) == ("(unnamed)", "unknown", 1.0)


@pytest.mark.parametrize("profile", [b"", b"no trace", b'"traceEvents": [{', b'"traceEvents": []'])
def test_no_schedule(profile: bytes) -> None:
    assert read_schedule(profile, trace(conv="Conv2d"), b"", 1.0) is None


SPANS = st.tuples(
    st.sampled_from(sorted(FLAGS)), st.integers(20, 24), st.integers(0, 50), st.integers(1, 20)
)


@given(st.lists(SPANS, min_size=1, max_size=12))
def test_shares_cover_the_time_in_which_anything_runs(spans: list) -> None:
    found = read([event(*span) for span in spans], 1.0)
    moments = {t for _, _, start, length in spans for t in range(start, start + length)}
    last = max(start + length for _, _, start, length in spans)
    assert sum(o.ms for o in found.operators) == pytest.approx(len(moments) / last)
    for unit, busy in ((MATRIX, found.matrix), (DMA, found.dma), (SCALAR, found.scalar)):
        own = {t for u, _, s, n in spans if u == unit for t in range(s, s + n)}
        assert busy == pytest.approx(len(own) / last)


@needs_compiler
def test_the_compilers_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every operator of a small net has its name, and the schedule is kept in the cache.

    Nothing is written anywhere else, and relative paths will do.
    """
    monkeypatch.chdir(tmp_path)
    path, cache = save(models.net, Path()), Cache(Path("cache"))
    device = find_device("QCS9075 (Proxy)")
    made = compile_model(path, device, schedule=True, cache=cache)
    schedule, time = made.schedule, made.simulated
    assert schedule is not None
    assert time is not None
    assert {"(input)", "/c/Conv", "/y/Add"} & {o.name for o in schedule.operators}
    assert not any(o.name == "(unnamed)" for o in schedule.operators)
    assert sum(o.ms for o in schedule.operators) == pytest.approx(time.ms, rel=0.1)
    assert schedule.kinds["Conv2d"] == 2
    units = (schedule.matrix, schedule.vector, schedule.dma, schedule.scalar)
    assert all(0 < busy < time.ms for busy in units)
    assert list(made.folder.glob("*.log")) == [made.log], "the trace itself is not kept"
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["cache", "net.onnx"]
    again = compile_model(path, device, schedule=True, cache=cache)
    assert again.cached
    assert again.schedule == schedule
    plain = compile_model(path, device, cache=cache)
    assert (plain.schedule, plain.cached) == (None, False)
    assert plain.simulated == time
    elsewhere = compile_model(path, find_device("Samsung Galaxy S24"), schedule=True, cache=cache)
    assert (elsewhere.schedule, elsewhere.simulated) == (None, None)
