"""`lpcvc inspect`: the multiply-adds are PyTorch's own count, the other facts the file's."""

import json
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.utils.flop_counter import FlopCounterMode

from conformance.cli import main
from conformance.selftest import models
from conformance.submission.graph import read_graph
from conformance.submission.macs import count_macs
from reference.registry import find_track


class Products(torch.nn.Module):
    """Convolutions, a transposed one, matrices with a bias and without, and an einsum."""

    def __init__(self, groups: int, stride: int, width: int) -> None:
        super().__init__()
        self.first = torch.nn.Conv2d(4, 4 * width, 3, stride, padding=1, groups=groups)
        self.back = torch.nn.ConvTranspose2d(4 * width, 6, (2, 3), stride, groups=groups)
        self.line = torch.nn.Linear(6, 5 * width)
        self.table = torch.nn.Parameter(torch.ones(5 * width, 7))

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        pixels = self.back(self.first(image)).flatten(2).transpose(1, 2)
        rows = self.line(pixels) @ self.table
        return torch.einsum("bnc,bnd->bcd", rows, rows)


def exported(module: torch.nn.Module, image: torch.Tensor, path: Path) -> Path:
    torch.onnx.export(module.eval(), (image,), path, dynamo=False, opset_version=17)
    return path


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@settings(max_examples=12, deadline=None)
@given(st.sampled_from([1, 2]), st.sampled_from([1, 2]), st.integers(1, 3), st.integers(5, 9))
def test_multiply_adds_are_those_of_pytorch(
    tmp_path_factory: pytest.TempPathFactory, groups: int, stride: int, width: int, size: int
) -> None:
    module, image = Products(groups, stride, width), torch.ones(1, 4, size, size + 1)
    with FlopCounterMode(display=False) as counter:
        module(image)
    path = exported(module, image, tmp_path_factory.mktemp("macs") / "m.onnx")
    counted = count_macs(read_graph(path))
    assert 2 * counted.total == counter.get_total_flops()
    assert counted.unknown == ()


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_a_reference_has_as_many(tmp_path: Path) -> None:
    """MobileNetV2, whose depthwise convolutions have a group a channel."""
    track = find_track("classification")
    module = track.room("model").build()["model"].eval()
    image = torch.ones(1, 3, 224, 224)
    with FlopCounterMode(display=False) as counter:
        module(image)
    counted = count_macs(read_graph(exported(module, image, tmp_path / "m.onnx")))
    assert 2 * counted.total == counter.get_total_flops()


def test_steps_of_a_sequence_multiply_both_tables(tmp_path: Path) -> None:
    lstm = torch.nn.LSTM(3, 5, bidirectional=True)
    path = exported(lstm, torch.ones(7, 2, 3), tmp_path / "m.onnx")
    assert count_macs(read_graph(path)).total == 7 * 2 * (2 * 4 * 5) * (3 + 5)


def test_what_is_open_is_not_guessed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    info = onnx.helper.make_tensor_value_info
    weight = onnx.numpy_helper.from_array(np.ones((4, 3, 3, 3), np.float32), "w")
    graph = onnx.helper.make_graph(
        [onnx.helper.make_node("Conv", ["image", "w"], ["out"], name="first")],
        "open",
        [info("image", onnx.TensorProto.FLOAT, ["n", 3, "h", "w"])],
        [info("out", onnx.TensorProto.FLOAT, None)],
        [weight],
    )
    opset = [onnx.helper.make_opsetid("", 17)]
    onnx.save(onnx.helper.make_model(graph, opset_imports=opset), tmp_path / "open.onnx")
    assert main(["inspect", str(tmp_path / "open.onnx")]) == 0
    assert "not known: without 1 of unknown size, first Conv 'first'" in capsys.readouterr().out


def test_the_facts_are_the_files(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Both parts of a track, as text and as JSON."""
    files = models.write(find_track("retrieval"), tmp_path)
    specs = [f"{part}={path}" for part, path in files.items()]
    assert main(["inspect", "--track", "retrieval", "--json", *specs]) == 0
    facts = json.loads(capsys.readouterr().out)
    assert list(facts) == ["image", "text"]
    for part, path in files.items():
        model, own = onnx.load(path), facts[part]
        assert own["bytes"] == path.stat().st_size
        assert own["opsets"][""] == model.opset_import[0].version
        assert [tensor["name"] for tensor in own["inputs"]] == [x.name for x in model.graph.input]
        assert sum(own["operators"].values()) == len(model.graph.node)
    assert main(["inspect", "--track", "retrieval", *specs]) == 0
    text = capsys.readouterr().out
    assert f"input         {facts['text']['inputs'][0]['label']}" in text
    assert f"parameters    {facts['image']['parameters']:,}, " in text


def test_pytorch_needs_a_track(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    torch.jit.trace(torch.nn.ReLU(), torch.ones(2)).save(str(tmp_path / "m.pt"))
    assert main(["inspect", str(tmp_path / "m.pt")]) == 2
    assert "add --track" in capsys.readouterr().err
