"""Parts of a track are told apart by what a model takes."""

from pathlib import Path

import onnx
import pytest
from onnx import TensorProto, helper

from conformance.selftest.models import conforming
from conformance.submission.graph import Graph, read_graph
from conformance.submission.parts import part_of
from reference.depth.contract import DEPTH_2025
from reference.registry import all_tracks
from reference.retrieval.contract import RETRIEVAL_2026
from reference.tracks import Track

FLOAT, INT32, INT64 = TensorProto.FLOAT, TensorProto.INT32, TensorProto.INT64


def taking(folder: Path, *inputs: tuple[str, int, list[int | str] | None]) -> Graph:
    values = [helper.make_tensor_value_info(*each) for each in inputs]
    nodes = [helper.make_node("Shape", [name], [f"{name}_size"]) for name, _, _ in inputs]
    sizes = [helper.make_tensor_value_info(node.output[0], INT64, None) for node in nodes]
    graph = helper.make_graph(nodes, "g", values, sizes)
    onnx.save(helper.make_model(graph), folder / "any.onnx")
    return read_graph(folder / "any.onnx")


@pytest.mark.parametrize("track", all_tracks().values(), ids=lambda track: track.id)
def test_every_conforming_model_is_its_own_part(track: Track, tmp_path: Path) -> None:
    for part in track.parts:
        onnx.save(conforming(track, part.name), tmp_path / "any.onnx")
        assert part_of(track, read_graph(tmp_path / "any.onnx")) is part


@pytest.mark.parametrize(
    ("inputs", "expected"),
    [
        # What people hand over beside the contract's own.
        ([("pixel_values", FLOAT, ["batch", 3, 224, 224])], "image"),
        ([("image", TensorProto.FLOAT16, [1, 224, 224, 3])], "image"),
        ([("image", TensorProto.UINT8, [1, 224, 224, 3])], "image"),
        ([("image", FLOAT, [3, 224, 224])], "image"),
        ([("image", INT64, [1, 77])], "text"),
        ([("input_ids", INT64, ["batch", "length"]), ("attention_mask", INT64, [1, 77])], "text"),
        ([("text", FLOAT, [1, 77])], "text"),
        ([("text", INT32, [77])], "text"),
        ([("text", INT32, None)], "text"),
        ([("image", FLOAT, [1, 3, 224, 224]), ("text", INT32, [1, 77])], None),
        ([("features", FLOAT, [1, 512])], None),
        ([("anything", FLOAT, None)], None),
    ],
)
def test_names_do_not_count(
    inputs: list[tuple[str, int, list[int | str] | None]], expected: str | None, tmp_path: Path
) -> None:
    part = part_of(RETRIEVAL_2026, taking(tmp_path, *inputs))
    assert (part.name if part else None) == expected


def test_a_track_of_one_part_has_no_other(tmp_path: Path) -> None:
    graph = taking(tmp_path, ("text", INT64, [1, 77]))
    assert part_of(DEPTH_2025, graph) is DEPTH_2025.parts[0]
