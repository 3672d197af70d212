"""The menders: each defect that they claim is mended, and every other model stays as it is."""

from pathlib import Path

import numpy as np
import onnx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from onnx import ModelProto, numpy_helper

from conformance.mending.child import Hands, MendingChild
from conformance.mending.layout import Step, input_layout, output_steps
from conformance.mending.menders import MENDERS, changes, mendable
from conformance.rulebook import rules_of
from conformance.selftest.matrix import attempt, label
from conformance.selftest.mended import mend_here, static_offences
from conformance.selftest.models import MODEL_TRACKS, conforming
from conformance.selftest.mutants import MUTANTS, Mutant
from conformance.selftest.mutants.mutant import DOUBLE, FLOAT, HALF, cast, ints, reshape
from conformance.selftest.surgery import (
    Change,
    add_input,
    add_output,
    add_weight,
    after,
    both,
    only_if,
    redeclare,
    rename_input,
    rename_output,
    step,
    versions,
)
from conformance.submission.graph import read_graph
from reference.depth.contract import DEPTH_2025
from reference.registry import find_track
from reference.segmentation.contract import SEGMENTATION_2025
from reference.tracks import Tensor, Track

PART = DEPTH_2025.parts[0]
FILES = [mutant for mutant in MUTANTS if not mutant.factory and find_track(mutant.track).parts]
# What no operator puts right without a guess at what was meant.
LEFT = {
    "segmentation-2025: text traced away": "nothing reads the text",
    "retrieval-2026, image: the text encoder twice": "another model",
    "segmentation-2025: ids without the mask": "the mask is not there",
    "retrieval-2026-draft, text: ids without the mask": "the mask is not there",
    "segmentation-2025: 512 pixels": "pictures of another size",
    "retrieval-2026, image: 256 pixels": "pictures of another size",
    "retrieval-2026-draft, image: 224 pixels in the draft": "pictures of another size",
    "depth-2025: 518 pixels": "pictures of another size",
    "pidnet: half the size": "pictures of another size",
    "retrieval-2026, text: 64 ids": "texts of another length",
    "action-2026: 8 frames": "clips of another length",
    "action-2026-ncthw: 8 frames": "clips of another length",
    "depth-2025: height and width swapped": "a picture on its side, or one of that size",
    "pidnet: height and width swapped": "a picture on its side, or one of that size",
    "depth-2025: depth lies on its side": "a map on its side, or one of that size",
    "pidnet: uint8 picture": "it takes 0..255, and 0..1 is fed",
    "action-2026-ncthw: uint8 clip": "it takes 0..255, and 0..1 is fed",
    "retrieval-2026, text: live tokens too": "either output may be the embedding",
    "segmentation-2025: flattened mask": "the order of the pixels is not told",
    "segmentation-2025: mask of half the size": "values that are not there",
    "retrieval-2026, text: one embedding a token": "several embeddings",
    "depth-2025: three channels of depth": "several maps",
    "depth-2025: depth left at 518 pixels": "a map of another size",
    "pidnet: logits at full size": "a map of another size",
    "depth-2025: uint8 depth": "it is rounded",
    "pidnet: int32 logits": "they are rounded",
    "pidnet: class numbers": "the logits are not there",
    "classification-2025: head of ImageNet": "other classes",
    "classification-2025: head of COCO": "other classes",
    "action-2026: head of Kinetics": "other classes",
    "retrieval-2026, image: open width": "its size hangs on the picture",
}


def claimed(mutant: Mutant) -> bool:
    """Whether it breaks a rule that has a mender."""
    track = find_track(mutant.track)
    own = {rule.id for rule in rules_of(track) if rule.check.__module__ != track.rules}
    ids = {rule.replace("*", track.prefix) for rule in MENDERS}
    return bool(mutant.rules & ids & own)


def submitted(mutant: Mutant, folder: Path) -> Path:
    """The file of the part that the mutant is of."""
    specs = dict(spec.split("=", 1) for spec in mutant.submit(folder))
    return Path(specs[mutant.part])


CLAIMED = [mutant for mutant in FILES if claimed(mutant) and label(mutant) not in LEFT]
OTHERS = [mutant for mutant in FILES if mutant not in CLAIMED]


def test_every_rule_with_a_mender_is_a_rule_and_has_mutants_that_are_mended() -> None:
    for track in MODEL_TRACKS:
        own = {rule.id for rule in rules_of(track) if rule.needs == "graph"}
        ids = {rule.replace("*", track.prefix) for rule in MENDERS}
        assert ids - own <= {f"{track.prefix}-10"}, "some contracts leave the output unnamed"
    prefixes = {track.prefix for track in MODEL_TRACKS}
    broken = {rule for mutant in CLAIMED for rule in mutant.rules}
    for rule in MENDERS:
        assert broken & {rule.replace("*", prefix) for prefix in prefixes}, rule
    assert {label(mutant) for mutant in FILES if claimed(mutant)} >= LEFT.keys()


@pytest.mark.parametrize("mutant", CLAIMED, ids=label)
def test_a_defect_that_has_a_mender_is_mended(mutant: Mutant, tmp_path: Path) -> None:
    """By changes that its rules ask for, to a file that breaks no rule of the graph."""
    track = find_track(mutant.track)
    part = track.part(mutant.part)
    path = submitted(mutant, tmp_path)
    made, model, graph = mend_here(path, track, part)
    assert {change.rule for change in made} <= mutant.rules
    assert static_offences(graph, track, part) == set()
    onnx.checker.check_model(model)


@pytest.mark.parametrize("mutant", OTHERS, ids=label)
def test_every_other_model_stays_as_it_is(mutant: Mutant, tmp_path: Path) -> None:
    track = find_track(mutant.track)
    assert changes(track, track.part(mutant.part), read_graph(submitted(mutant, tmp_path))) == []


@pytest.mark.parametrize("track", MODEL_TRACKS, ids=lambda track: track.id)
def test_nothing_is_mended_of_what_conforms(track: Track, tmp_path: Path) -> None:
    for part in track.parts:
        path = tmp_path / f"{part.name}.onnx"
        onnx.save(conforming(track, part.name), path)
        assert mendable(track, part, read_graph(path)) == set()


DEFECTS: dict[str, list[Change]] = {
    "input": [
        after("image", step("Transpose", perm=[0, 3, 1, 2]), shape=(1, 480, 640, 3)),
        after("image", step("Unsqueeze", ints(0)), shape=(3, 480, 640)),
        redeclare("image", shape=("batch", 3, 480, 640)),
        redeclare("image", shape=("batch", 3, "height", "width")),
        both(
            after("image", step("Transpose", perm=[0, 3, 1, 2]), shape=(1, 480, 640, 3)),
            redeclare("image", shape=("batch", "height", "width", 3)),
        ),
        *(after("image", cast(FLOAT), dtype=kind) for kind in (HALF, DOUBLE)),
    ],
    "output": [
        after("depth", step("Transpose", perm=[0, 2, 3, 1]), shape=(1, 480, 640, 1)),
        after("depth", reshape(480, 640), shape=(480, 640)),
        redeclare("depth", shape=("batch", 1, "h", "w")),
        *(after("depth", cast(kind), dtype=kind) for kind in (HALF, DOUBLE)),
    ],
    "more": [add_output("normalised", 1, 3, 480, 640)],
    "weights": [add_weight("unread", np.zeros(9, np.float32))],
    "stranger": [add_input("scale", 1)],
    "versions": [versions(ir=12), versions(ir=10, opset=24)],
    "name": [rename_input("image", "centred_"), rename_input("image", "depth_")],
    "answer": [rename_output("depth", "output")],
}
SOME = st.fixed_dictionaries({}, optional={k: st.sampled_from(v) for k, v in DEFECTS.items()})


@given(chosen=SOME)
@settings(
    derandomize=True,
    deadline=None,
    database=None,
    max_examples=40,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
def test_any_defects_together_are_mended_at_once(chosen: dict[str, Change], tmp_path: Path) -> None:
    """And what was mended has nothing to mend."""
    path = tmp_path / "m.onnx"
    model = conforming("depth")
    for kind in DEFECTS:
        chosen.get(kind, lambda model: None)(model)
    onnx.save(model, path)
    broken = static_offences(read_graph(path), DEPTH_2025, PART)
    made, model, graph = mend_here(path, DEPTH_2025, PART)
    assert static_offences(graph, DEPTH_2025, PART) == set()
    assert bool(made) == bool(broken)
    onnx.checker.check_model(model)


def test_a_name_that_is_taken_inside_makes_room(tmp_path: Path) -> None:
    """Two tensors inside have the names that the input and the output are to have."""
    path, track = tmp_path / "m.onnx", SEGMENTATION_2025
    model = conforming("segmentation")
    both(rename_input("image_input", "x"), rename_output("pred_mask", "y"))(model)
    inside = {"centred": "image_input", "logits": "pred_mask"}
    for node in model.graph.node:
        for listed in (node.input, node.output):
            for place, name in enumerate(listed):
                listed[place] = inside.get(name, name)
    onnx.save(model, path)
    _, model, graph = mend_here(path, track, track.parts[0])
    assert static_offences(graph, track, track.parts[0]) == set()
    onnx.checker.check_model(model, full_check=True)
    made = [name for node in model.graph.node for name in node.output]
    assert {"image_input_inside", "pred_mask_inside"} <= {*made}
    assert "image_input" not in made


def test_branches_follow_a_change_of_names() -> None:
    model = conforming("depth")
    dark = (step("ReduceMax", keepdims=0), step("Less", -1.0))
    only_if("depth", "image", dark, step("Max", "image"))(model)
    assert Hands(model).rename({"image": "picture"})
    branch = next(a.g for n in model.graph.node for a in n.attribute if a.name == "then_branch")
    assert list(branch.node[0].input) == ["depth_inner", "picture"]
    onnx.checker.check_model(model)


def test_a_weight_that_a_branch_returns_is_kept() -> None:
    """As the graph's readers alone tell it, nothing reads it."""
    model = conforming("depth")
    only_if("depth", "image", (step("ReduceMax", keepdims=0), step("Less", -1.0)), step("Neg"))(
        model
    )
    branch = next(a.g for n in model.graph.node for a in n.attribute if a.name == "then_branch")
    add_weight("whole", np.zeros((1, 1, 480, 640), np.float32))(model)
    branch.output[0].name = "whole"
    assert not Hands(model).drop_weights(["whole"])
    assert "whole" in {tensor.name for tensor in model.graph.initializer}


def test_an_output_that_is_an_input_is_not_taken_apart() -> None:
    model = conforming("depth")
    add_output("image", 1, 3, 480, 640)(model)
    before = model.SerializeToString(deterministic=True)
    steps = [{"op": "Transpose", "to": [0, 2, 3, 1]}]
    assert not Hands(model).take("image", steps, [1, 480, 640, 3])
    assert model.SerializeToString(deterministic=True) == before


@pytest.mark.parametrize("large", [False, True])
def test_external_weights_come_inside(
    large: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Or, where one file cannot hold them, into one beside it."""
    model = conforming("depth")
    (tmp_path / "out").mkdir()
    source, target = tmp_path / "m.onnx", tmp_path / "out" / "m.onnx"
    onnx.save(model, source, save_as_external_data=True, location="w.bin", size_threshold=0)
    if large:
        monkeypatch.setattr("conformance.mending.child.LARGEST_PROTO", 100)
    MendingChild().finish(str(source), str(tmp_path), str(target))
    assert sorted(path.name for path in target.parent.iterdir()) == (
        ["m.onnx", "m.onnx.data"] if large else ["m.onnx"]
    )
    weights = [numpy_helper.to_array(t) for t in onnx.load(target).graph.initializer]
    for one, other in zip(weights, model.graph.initializer, strict=True):
        assert np.array_equal(one, numpy_helper.to_array(other, str(tmp_path)))
    assert read_graph(target).weights.keys() == read_graph(source).weights.keys()


PICTURE = Tensor("image", (1, 3, 4, 6), ("float32",), "", "picture")
CLIP = Tensor("video", (1, 2, 4, 6, 3), ("float32",), "", "picture")
TEXT = Tensor("text", (2, 1, 7), ("int32",), "", "text")
MAP = Tensor("depth", (1, 1, 4, 6), ("float32",), "")
WIDTH = Tensor(None, (1, None), ("float32",), "", "embedding")


@pytest.mark.parametrize(
    ("tensor", "found", "steps"),
    [
        (PICTURE, (1, 3, 4, 6), []),
        (PICTURE, ("N", 3, 4, 6), []),
        (PICTURE, None, []),
        (PICTURE, (1, 4, 6, 3), [Step("Transpose", [0, 2, 3, 1])]),
        (PICTURE, (3, 4, 6), [Step("Reshape", [3, 4, 6])]),
        (PICTURE, (4, 6, 3), [Step("Transpose", [0, 2, 3, 1]), Step("Reshape", [4, 6, 3])]),
        (PICTURE, (1, 3, 6, 4), None),
        (PICTURE, (1, 3, 8, 12), None),
        (PICTURE, (1, 72), None),
        (CLIP, (1, 3, 2, 4, 6), [Step("Transpose", [0, 4, 1, 2, 3])]),
        (CLIP, (2, 4, 6, 3), [Step("Reshape", [2, 4, 6, 3])]),
        (TEXT, (2, 7), [Step("Reshape", [2, 7])]),
        (TEXT, (1, 2, 7), None),
    ],
)
def test_input_layouts(tensor: Tensor, found: tuple | None, steps: list[Step] | None) -> None:
    shape = found and tuple(size if isinstance(size, int) else None for size in found)
    layout = input_layout(tensor, shape)
    assert (layout and list(layout.steps)) == steps


@pytest.mark.parametrize(
    ("tensor", "found", "steps"),
    [
        (MAP, (1, 1, 4, 6), ()),
        (MAP, (1, 4, 6, 1), (Step("Transpose", [0, 3, 1, 2]),)),
        (MAP, (4, 6), (Step("Reshape", [1, 1, 4, 6]),)),
        (MAP, (1, 1, 1, 4, 6), (Step("Reshape", [1, 1, 4, 6]),)),
        (MAP, (1, 1, 6, 4), None),
        (MAP, (24,), None),
        (WIDTH, (16,), (Step("Reshape", [1, -1]),)),
        (WIDTH, (1, 1, 16), (Step("Reshape", [1, -1]),)),
        (WIDTH, (1, 7, 16), None),
        (WIDTH, (2, 16), None),
    ],
)
def test_output_steps(tensor: Tensor, found: tuple, steps: tuple[Step, ...] | None) -> None:
    assert output_steps(found, tensor) == steps


def _mended(mutant: Mutant) -> Mutant:
    """The same mutant, mended where it is written."""
    track = find_track(mutant.track)

    def store(model: ModelProto, path: Path) -> None:
        mutant.store(model, path)
        mend_here(path, track, track.part(mutant.part))

    return Mutant(mutant.name, mutant.track, mutant.change, frozenset(), mutant.part, store)


@pytest.mark.slow
@pytest.mark.parametrize("mutant", CLAIMED, ids=label)
def test_what_was_mended_keeps_every_rule(mutant: Mutant, tmp_path: Path) -> None:
    """Those of forward passes too."""
    trial = attempt(_mended(mutant), tmp_path)
    assert trial.report == ""
    assert {verdict.outcome for verdict in trial.verdicts.values()} == {"pass"}
