"""What is read from the compiler's log, trace and profile, on texts made by hand."""

import json

import pytest

from reference.npu.trace import (
    NPU,
    CpuNode,
    Node,
    SimulatedTime,
    Traffic,
    find_generated,
    find_remedy,
    find_shortage,
    read_placement,
    read_simulated,
    read_traffic,
)

CPU = "CPUExecutionProvider"
STAMP = "2026-11-21 09:18:45.87 [V:onnxruntime:Default, qnn_backend_manager.cc:519 QnnLogging] "


def compiler_pass(number: int, *units: str) -> str:
    head = f"[V:onnxruntime:, ep.cc:2198 GetCapabilityImpl] GetCapability pass {number} (any)"
    return "\n".join([head, *units])


def passed(name: str, op: str) -> str:
    return (
        f"[V] Validation PASSED for 1 nodes in OrtNodeUnit ({op}) :\n"
        f"\tOperator type: {op} Node name: {name} Node index: 0"
    )


def failed(name: str, op: str, *errors: str, reason: str = "Failed to add node.") -> str:
    lines = [f"{STAMP} <E> {error}\n" for error in errors]
    lines += [
        f"[V] Validation FAILED for 1 nodes in OrtNodeUnit ({op}) :",
        f"\tOperator type: {op} Node name: {name} Node index: 3",
        f"\tREASON : {reason}",
    ]
    return "\n".join(lines)


def trace(ops: int, **unsupported: str) -> str:
    nodes = [{"node_name": name, "reason": reason} for name, reason in unsupported.items()]
    return json.dumps({"summary": {"total_qnn_ops": ops}, "unsupported_nodes": nodes})


def test_a_whole_model() -> None:
    log = compiler_pass(1, passed("/conv", "Conv")) + "\n" + compiler_pass(2)
    found = read_placement([(NPU, "/conv_token_1", "Conv"), (NPU, "Q", "Mul")], trace(5), log)
    assert found.npu == (Node("/conv", "Conv"), Node("Q", "Mul"))
    assert (found.cpu, found.npu_ops) == ((), 5)


def test_the_reason_is_what_the_validator_said() -> None:
    errors = (
        "[4294967295] has incorrect Rank 6.",
        "[4294967295] has incorrect Rank 6.",
        "QnnBackend_validateOpConfig failed 3110",
        "Failed to validate op /mul with error 0xc26",
    )
    log = compiler_pass(1, passed("/a", "Conv"), failed("/mul", "Mul", *errors))
    found = read_placement([(CPU, "/mul", "Mul")], trace(0, **{"/mul": "Failed"}), log)
    (node,) = found.cpu
    assert (node.name, node.op, node.reason) == ("/mul", "Mul", "has incorrect Rank 6")
    assert node.remedy.startswith("merge axes")


def test_errors_of_one_node_are_not_the_next_ones() -> None:
    log = compiler_pass(
        1,
        failed("/a", "Mul", "[1] has incorrect Rank 6."),
        failed("/b", "Loop", reason="Operators of type `Loop` are not supported by QNN EP."),
        failed(
            "/c", "Einsum", "validateNativeOps master op validator /c_2:qti.aisw:MatMul failed 3110"
        ),
    )
    reasons = {node.name: node.reason for node in read_placement([], "", log).cpu}
    assert reasons == {
        "/a": "has incorrect Rank 6",
        "/b": "Operators of type `Loop` are not supported by QNN EP.",
        "/c": "the validator refuses its MatMul",
    }


def test_the_second_pass_counts() -> None:
    """Where no session could be made, the CPU's nodes are those that the last pass refused."""
    log = "\n".join(
        [
            compiler_pass(1, failed("/early", "Mul"), passed("/gs", "GridSample")),
            compiler_pass(2, failed("/gs_token_1", "GridSample", "[1] has incorrect Rank 5.")),
        ]
    )
    (node,) = read_placement([], "", log).cpu
    assert (node.name, node.op, node.reason) == ("/gs", "GridSample", "has incorrect Rank 5")


def test_a_name_of_the_user_that_looks_rewritten() -> None:
    log = compiler_pass(1, passed("text_token_1", "Gather"))
    found = read_placement([(NPU, "text_token_1", "Gather")], trace(1), log)
    assert found.npu == (Node("text_token_1", "Gather"),)


def test_one_verdict_on_several_nodes() -> None:
    log = compiler_pass(
        1,
        "[V] Validation FAILED for 2 nodes in LayerNormFusion :\n"
        "\tOperator type: Sub Node name: /s Node index: 3\n"
        "\tOperator type: Mul Node name: /m Node index: 4\n"
        "\tREASON : Cannot get shape",
    )
    nodes = read_placement([], "", log).cpu
    assert [(node.name, node.reason) for node in nodes] == [
        ("/s", "Cannot get shape"),
        ("/m", "Cannot get shape"),
    ]


def test_reasons_of_the_trace_and_without_any() -> None:
    assignment = [(CPU, "/a", "Cast"), (CPU, "/b", "Shape")]
    found = read_placement(assignment, trace(0, **{"/a": "Unsupported FP64"}), "")
    assert found.cpu == (
        CpuNode("/a", "Cast", "Unsupported FP64", find_remedy("Unsupported FP64")),
        CpuNode("/b", "Shape", "the compiler left it to the CPU", ""),
    )


def test_names_do_not_steer_the_terminal() -> None:
    found = read_placement([(CPU, "/a\x1b[2J", "Cast"), (NPU, "\x07", "Mul\u202e")], "", "")
    assert found.cpu[0].name == r"/a\x1b[2J"
    assert found.npu == (Node(r"\x07", r"Mul\u202e"),)


@pytest.mark.parametrize(
    ("reason", "remedy"),
    [
        ("The SocModel doesn't support FP16", "w8a8"),
        ("Cannot get shape", "fixed size for every dimension"),
        ("NonZero output shape must be static. Set shape to [rank, n].", "fixed shape"),
        ("has incorrect Rank 7", "merge axes"),
        ("Unsupported FP64 data type in graph IO.", "float32"),
        ("ReduceMin 'low': could not create op", "-(-y).amax"),
        ("ReduceMax 'high': could not create op", "by itself"),
        ("Operators of type `Scan` are not supported by QNN EP.", "unroll"),
    ],
)
def test_remedies(reason: str, remedy: str) -> None:
    assert remedy in find_remedy(reason)


def test_no_remedy_is_made_up() -> None:
    assert find_remedy("Failed to add node.") == ""


LATER = (
    "\tOperator type: Conv Node name: /a(1)/Conv Node index: 3\n"
    f"{STAMP} <W> unexpected GraphHtpSettings option 66\n"
    f'{STAMP} <E> "/a(1)/Conv" generated: could not create op\n\n'
    f"{STAMP} <E> RouterX86 graph prepare failed 12\n"
)


def test_an_operator_that_fails_later() -> None:
    assert find_generated(LATER) == ("Conv '/a(1)/Conv'", "could not create op")
    unlisted = LATER.replace("Node name", "Name")
    assert find_generated(unlisted) == ("/a(1)/Conv", "could not create op")
    assert find_generated(LATER.replace("generated", "made")) is None


def test_a_shortage_is_in_the_compiler_s_words() -> None:
    text = f"{STAMP}graph_prepare.cc:332::ERROR:Exception during graph prepare. std::bad_alloc\n"
    assert find_shortage(LATER + text) == "Exception during graph prepare. std::bad_alloc"
    assert find_shortage(f"{STAMP}hexagon_nn_env.cc:171::ERROR:Error creating thread: 11\n") == (
        "Error creating thread: 11"
    )
    assert find_shortage(LATER) == find_shortage("wrapper.cc:309: no std::bad_alloc") == ""


def ddr(spill: int, fill: int, written: int, read: int) -> str:
    values = {"spill": spill, "fill": fill, "write_total": written, "read_total": read}
    lines = [f"{STAMP}{name}_bytes={value}\n\n" for name, value in values.items()]
    return f"{STAMP}options.cc:150:Option: seq_cost = ddr_bytes\n====== DDR\n" + "".join(lines)


def test_traffic_is_summed_over_the_parts() -> None:
    assert read_traffic(ddr(1, 2, 30, 40) + ddr(100, 200, 3000, 4000)) == Traffic(
        spill=101, fill=202, written=3030, read=4040
    )


def test_no_traffic() -> None:
    assert read_traffic("spill_bytes=1") is None
    assert read_traffic("") is None


HEADER = "Msg Timestamp,Message,Time,Unit of Measurement,Timing Source,Event Level,Event Identifier"


def profile(typical: int, low: int, high: int, missing: int) -> str:
    time = "Simulated (Accelerator exec time us{})"
    rows = [
        ("FINALIZE", 30187, "US", "QNN (finalize) time"),
        ("BACKEND", typical * 1500, "CYCLES", "Simulated (Accelerator exec cycles)"),
        ("BACKEND", typical, "US", time.format("")),
        ("BACKEND", low, "US", time.format(" (lower estimate)")),
        ("BACKEND", high, "US", time.format(" (upper estimate)")),
        ("BACKEND", missing, "US", "Missing Ops (Number of Ops with no Costs associated)"),
    ]
    lines = (f"0,{message},{n},{unit},BACKEND,EVENT,{what}" for message, n, unit, what in rows)
    return "\n".join(lines) + "\n"


def test_simulated_time() -> None:
    assert read_simulated(HEADER + "\n" + profile(24_300, 21_600, 28_700, 1)) == SimulatedTime(
        ms=24.3, lowest_ms=21.6, highest_ms=28.7, uncosted=1
    )


def test_simulated_time_is_summed_over_the_parts() -> None:
    text = HEADER + "\n" + profile(1000, 900, 1100, 1) + profile(2000, 1800, 2200, 2)
    assert read_simulated(text) == SimulatedTime(3.0, 2.7, 3.3, 3)


@pytest.mark.parametrize(
    "text", ["", HEADER, HEADER + "\n0,FINALIZE,30187,US,BACKEND,ROOT,QNN (finalize) time"]
)
def test_no_simulated_time(text: str) -> None:
    assert read_simulated(text) is None
