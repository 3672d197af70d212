"""Contracts that are TOML files: what is read from them, what they hold a model to, and what is
said of files that are none.
"""

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from conformance.contract.probes import need_inputs, probes_for
from conformance.rulebook import rules_for
from conformance.selftest.assess import assess, broken
from conformance.selftest.gate import counts, run_gate
from conformance.suite import chosen_tracks
from reference.errors import SubmissionError
from reference.registry import find_track, known_track

pytestmark = pytest.mark.usefixtures("one_process")

MASK = """
name = "doors"
title = "Door masks"
device = "Samsung Galaxy S24"
compile_options = "--target_runtime qnn_dlc"
budget_ms = 20
prepare = "depth"

[[inputs]]
name = "image"
shape = [1, 3, 480, 640]

[output]
name = "mask"
shape = [1, 1, 480, 640]
values = "binary"
"""
# A state and a step number to a steering angle: neither pictures nor texts.
ANGLE = """
name = "steering"
device = "Snapdragon X Elite CRD"

[[inputs]]
name = "state"
shape = [1, 8]

[[inputs]]
name = "step"
shape = [1]
dtype = "int64"

[output]
shape = [1, 1]
values = [-1, 1]
"""
ENCODERS = """
name = "search"
device = "XR2 Gen 2 (Proxy)"
prepare = "retrieval"

[[parts]]
name = "image"
inputs = [{ name = "image", shape = [1, 3, 224, 224] }]
output = { shape = [1, "any"], values = "embedding" }

[[parts]]
name = "text"
inputs = [{ name = "text", shape = [1, 77], dtype = "int32" }]
output = { shape = [1, "any"], values = "embedding" }
"""


def save(folder: Path, text: str) -> str:
    path = folder / "own.toml"
    path.write_text(text, encoding="utf-8")
    return str(path)


def model(path: Path, nodes: list, inputs: dict, output: tuple, **weights: np.ndarray) -> str:
    """An ONNX file; inputs and output are shapes with their names, float32 but for `step`."""
    kinds = {"step": TensorProto.INT64}

    def info(name: str, shape: tuple) -> onnx.ValueInfoProto:
        return helper.make_tensor_value_info(name, kinds.get(name, TensorProto.FLOAT), shape)

    graph = helper.make_graph(
        nodes,
        "own",
        [info(name, shape) for name, shape in inputs.items()],
        [info(*output)],
        [numpy_helper.from_array(value, name) for name, value in weights.items()],
    )
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.save(made, path)
    return str(path)


def masks(path: Path, last: str = "hard") -> str:
    """Doors are where red outweighs the rest; `last` is what is returned of it."""
    node = helper.make_node
    ends = {
        "hard": [node("Greater", ["scored", "zero"], ["b"]), node("Cast", ["b"], ["mask"], to=1)],
        "soft": [node("Sigmoid", ["scored"], ["mask"])],
    }
    return model(
        path,
        [
            node("Div", ["image", "high"], ["unit"]),
            node("Conv", ["unit", "kernel"], ["scored"]),
            *ends[last],
        ],
        {"image": (1, 3, 480, 640)},
        ("mask", (1, 1, 480, 640)),
        high=np.float32(255),
        kernel=np.array([2, -1, -1], np.float32).reshape(1, 3, 1, 1),
        **({"zero": np.float32(0)} if last == "hard" else {}),
    )


def angles(path: Path, gain: float) -> str:
    node = helper.make_node
    return model(
        path,
        [
            node("Cast", ["step"], ["time"], to=1),
            node("MatMul", ["state", "row"], ["sum"]),
            node("Add", ["sum", "time"], ["both"]),
            node("Tanh", ["both"], ["small"]),
            node("Mul", ["small", "gain"], ["angle"]),
        ],
        {"state": (1, 8), "step": (1,)},
        ("angle", (1, 1)),
        row=np.linspace(-1, 2, 8, dtype=np.float32)[:, None],
        gain=np.float32(gain),
    )


def test_what_is_read(tmp_path: Path) -> None:
    track = find_track(save(tmp_path, MASK))
    (part,) = track.parts
    assert (track.id, track.title, track.prefix) == ("doors", "Door masks", "DOORS")
    assert (track.budget_ms, track.image_high, track.runtime) == (20.0, 255.0, "qnn_dlc")
    assert [t.label for t in part.inputs] == ["image float32 1x3x480x640"]
    assert (part.output.kind, part.output.label) == ("binary", "mask float32 1x1x480x640")
    assert find_track(track.spec) == track, "as a child process finds it"
    assert known_track("doors") == track
    assert track.room("pictures").__name__ == "reference.segmentation.pictures"
    neighbours = find_track(save(tmp_path, ENCODERS)).room("pictures")
    assert neighbours.__name__ == "reference.retrieval.pictures"
    assert not find_track(save(tmp_path, ANGLE)).has("pictures")
    roles = [probe.role for probe in probes_for(track, part)]
    depth = find_track("depth")
    assert roles == [probe.role for probe in probes_for(depth, depth.parts[0])]


def test_its_rules_are_in_its_own_numbering(tmp_path: Path) -> None:
    ids = {rule.id for rule in rules_for(find_track(save(tmp_path, MASK)))}
    assert {f"DOORS-{n}" for n in (1, 2, 3, 4, 5, 6, 7, 10)} <= ids
    assert not any(id.startswith(("TXT", "DEP", "SEG")) for id in ids)
    unnamed = {rule.id for rule in rules_for(find_track(save(tmp_path, ANGLE)))}
    assert {"STEERING-7"} == {id for id in unnamed if id.endswith("-7") and id != "COM-7"}
    assert "STEERING-10" not in unnamed, "the output has no name to keep"


def test_a_mask_that_is_none(tmp_path: Path) -> None:
    track = find_track(save(tmp_path, MASK))
    good = assess(track, [masks(tmp_path / "good.onnx")], tmp_path / "good")
    assert not broken(good)
    assert good["DOORS-7"].seen.startswith("0.0 and 1.0 only, over")
    soft = assess(track, [masks(tmp_path / "soft.onnx", "soft")], tmp_path / "soft")
    assert broken(soft) == {"DOORS-7"}
    assert "this looks like probabilities" in soft["DOORS-7"].remedy


def test_numbers_out_of_their_range(tmp_path: Path) -> None:
    """Inputs that are neither pictures nor texts are fed with numbers."""
    track = find_track(save(tmp_path, ANGLE))
    good = assess(track, [angles(tmp_path / "good.onnx", 1.0)], tmp_path / "good")
    assert not broken(good)
    assert good["COM-12"].outcome == good["STEERING-7"].outcome == "pass"
    wide = assess(track, [angles(tmp_path / "wide.onnx", 1.5)], tmp_path / "wide")
    assert broken(wide) == {"STEERING-7"}
    assert wide["STEERING-7"].expected == "values in [-1, 1]"


def test_noise_tells_nothing_of_ranges(tmp_path: Path) -> None:
    with pytest.raises(SubmissionError, match="nothing prepares what steering feeds"):
        need_inputs(find_track(save(tmp_path, ANGLE)))
    need_inputs(find_track(save(tmp_path, MASK)))


def test_parts_with_the_preparation_of_a_track(tmp_path: Path) -> None:
    track = find_track(save(tmp_path, ENCODERS))
    image, text = track.parts
    assert (image.image, image.text) == (image.inputs[0], None)
    assert (text.image, text.text) == (None, text.inputs[0])
    assert {probe.role for probe in probes_for(track, text)} >= {"text", "retext", "tail"}
    assert {"TXT-1", "SEARCH-7"} <= {rule.id for rule in rules_for(track)}


def test_the_gate_takes_the_file_and_repeats_its_command_with_it(tmp_path: Path) -> None:
    save(tmp_path, MASK)
    masks(tmp_path / "my.onnx", "soft")
    arguments = ["--track=own.toml", "--submission=my.onnx", "--report=out"]
    gate = run_gate(tmp_path, *arguments)
    assert gate.code == 1, gate.out
    assert counts(gate)["failed"] == 1
    assert f"--track {tmp_path / 'own.toml'} --submission my.onnx" in gate.out
    assert "Door masks" in (tmp_path / "out" / "report.html").read_text(encoding="utf-8")


WRONG = {
    "device = 1": (("device = \"Samsung Galaxy S24\"", "device = 1"), "device is 1", "a text"),
    "no device": (("device = \"Samsung Galaxy S24\"\n", ""), "device is missing", "device = "),
    "a misspelt key": (("budget_ms", "buget_ms"), "nothing is called 'buget_ms'", "budget_ms"),
    "a misspelt one": (("\nshape = [1, 3", "\nshpe = [1, 3"), "called 'shpe'", "shape ="),
    "no time": (("= 20", "= 0"), "budget_ms is 0.0", "a number above 0"),
    "a letter": (("640]\n\n", "\"w\"]\n\n"), "inputs 1: shape [1, 3, 480, 'w']", "whole"),
    "a dtype": (("[output]", "[output]\ndtype = \"half\""), "no dtype 'half'", "float16"),
    "unknown values": (("\"binary\"", "\"bits\""), "output: values 'bits' say nothing", "binary"),
    "a range that is none": (("\"binary\"", "[1, 0]"), "values [1, 0] say nothing", "[0, 1]"),
    "an input without a name": (("name = \"image\"\n", ""), "inputs need a name each", "name"),
    "another size": (("[1, 3, 480", "[1, 3, 256"), "is not what depth-2025 prepares", "no prepare"),
    "a name of ours": (("\"doors\"", "\"com\""), "prefix 'COM' cannot begin rules", "capital"),
    "an installed track": (("\"doors\"", "\"depth\""), "calls itself depth", "rename it"),
    "no such track": (("\"depth\"", "\"dpeth\""), "own.toml: prepare: unknown track", "depth"),
    "no TOML": (("[output]", "[output"), "own.toml cannot be read as TOML", "docs/extending.md"),
}  # fmt: skip


@pytest.mark.parametrize("name", WRONG)
def test_what_is_wrong_is_one_line_that_says_where(name: str, tmp_path: Path) -> None:
    (old, new), problem, remedy = WRONG[name]
    assert MASK.count(old) == 1, old
    with pytest.raises(SubmissionError) as error:
        find_track(save(tmp_path, MASK.replace(old, new)))
    assert problem in error.value.problem
    assert remedy in error.value.remedy
    assert "\n" not in str(error.value)


def test_a_file_is_what_it_says_now(tmp_path: Path) -> None:
    """Though another of its name was read before in the same process, or the same one."""
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    first = find_track(save(elsewhere, MASK))
    second = find_track(save(tmp_path, MASK.replace("= 20", "= 30")))
    assert (first.budget_ms, second.budget_ms) == (20, 30)
    assert second.file == str(tmp_path / "own.toml")
    assert find_track(save(tmp_path, MASK.replace("= 20", "= 40"))).budget_ms == 40
    known = known_track("doors")
    assert known is not None
    assert known.budget_ms == 40


def test_two_files_of_one_name_are_not_asked_for_together(tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    one, other = save(tmp_path, MASK), save(elsewhere, MASK)
    assert len(chosen_tracks([one, one, "depth"])) == 2
    with pytest.raises(SubmissionError, match="both call themselves doors; rename one") as error:
        chosen_tracks([one, "depth", other])
    assert one in error.value.problem
    assert other in error.value.problem


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(SubmissionError, match=r"nothing\.toml: No such file or directory"):
        find_track(str(tmp_path / "nothing.toml"))


@pytest.mark.parametrize("room", ["model", "metric", "dataset"])
def test_what_such_a_track_has_not_is_told(room: str, tmp_path: Path) -> None:
    track = find_track(save(tmp_path, MASK))
    assert not track.has(room)
    with pytest.raises(SubmissionError, match=rf"doors has no .*{room}\.py \(docs/extending\.md\)"):
        track.room(room)
