import subprocess
import sys
from functools import cache
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from torch import nn

from reference import export
from reference.depth.contract import DEPTH_2025
from reference.errors import SubmissionError
from reference.export import (
    build_reference,
    example_inputs,
    export_onnx,
    export_reference,
    export_torchscript,
)
from reference.exported import find_exported
from reference.install import install_command
from reference.ort import host_session
from reference.pidnet.contract import PIDNET
from reference.registry import all_tracks
from reference.retrieval.contract import RETRIEVAL_2026, RETRIEVAL_2026_DRAFT
from reference.segmentation.contract import SEGMENTATION_2025

REFERENCES = (SEGMENTATION_2025, RETRIEVAL_2026, DEPTH_2025, PIDNET)
PARTS = [
    pytest.param(track, part, id=f"{track.id}-{part.name}")
    for track in REFERENCES
    for part in track.parts
]
SHAPES = {
    "pred_mask": (1024, 1024),
    "embedding": (1, 512),
    "depth": (1, 1, 480, 640),
    "mask": (1, 19, 128, 256),
}
OUTPUTS = dict(zip(REFERENCES, SHAPES, strict=True))
# Comparisons that become numbers: nine attention masks and the answer; the safe division.
CASTS = {SEGMENTATION_2025: 10, DEPTH_2025: 1}
RESIZES = {SEGMENTATION_2025: 8, DEPTH_2025: 7, PIDNET: 11}
TEXT = RETRIEVAL_2026.part("text")
IMAGE = RETRIEVAL_2026.part("image")

pytestmark = pytest.mark.filterwarnings("ignore:.torch.jit:DeprecationWarning")


@pytest.fixture(scope="module")
def files(seeded, scratch):
    """Each part of each track as ONNX, which may be of an earlier run, and as TorchScript."""
    written = {}
    for track in REFERENCES:
        graphs = find_exported(track, scratch, to_read=True) or export_reference(track, scratch)
        for part in track.parts:
            traced = scratch / f"{track.id}-{part.name}.pt"
            export_torchscript(seeded(track)[part.name], part, traced)
            written[track, part] = (graphs[part.name], traced)
    return written


def run(path: Path, *inputs: torch.Tensor) -> np.ndarray:
    session = host_session(path)
    names = [value.name for value in session.get_inputs()]
    feeds = {name: value.numpy() for name, value in zip(names, inputs, strict=True)}
    return session.run(None, feeds)[0]


def real_inputs(track, part, photos):
    """A photo, a sentence, or both."""
    inputs = []
    if part.image:
        height, width = part.image.shape[2:]
        inputs.append(photos(width, height)[2] / 255 * track.image_high)
    if part.text:
        ids = torch.full(part.text.shape, 49407, dtype=torch.int32)
        ids[0].view(-1)[:5] = torch.tensor([49406, 2308, 1774, 15762, 269])
        inputs.append(ids)
    return tuple(inputs)


@pytest.fixture(scope="module")
def answered(seeded, photos):
    """What PyTorch answers to the real inputs of a part."""

    @cache
    def answer(track, part):
        with torch.inference_mode(), summed_as_onnxruntime(track):
            return seeded(track)[part.name](*real_inputs(track, part, photos))

    return answer


def summed_as_onnxruntime(track):
    """oneDNN sums PIDNet in another order, without AVX-512 by more than 2e-4."""
    return torch.backends.mkldnn.flags(enabled=track is not PIDNET)


def signature(values):
    return [
        (
            value.name,
            tuple(size.dim_value for size in value.type.tensor_type.shape.dim),
            onnx.helper.tensor_dtype_to_np_dtype(value.type.tensor_type.elem_type).name,
        )
        for value in values
    ]


@pytest.mark.parametrize(("track", "part"), PARTS)
def test_files_keep_the_contract(files, track, part):
    path, _ = files[track, part]
    onnx.checker.check_model(path, full_check=True)
    model = onnx.load(path)
    assert [(each.domain, each.version) for each in model.opset_import] == [("", 17)]
    expected = [(tensor.name, tensor.shape, tensor.dtypes[0]) for tensor in part.inputs]
    assert signature(model.graph.input) == expected
    name = OUTPUTS[track]
    assert signature(model.graph.output) == [(name, SHAPES[name], "float32")]
    assert not list(path.parent.glob(f"{path.name}.data"))


@pytest.mark.parametrize(("track", "part"), PARTS)
def test_graphs_are_folded(files, track, part):
    """Nothing is left that computes a shape or a constant, or that does nothing."""
    graph = onnx.load(files[track, part][0]).graph
    kinds = [node.op_type for node in graph.node]
    leftovers = {"Shape", "Constant", "ConstantOfShape", "Identity", "Dropout", "Range", "Expand"}
    assert not leftovers & set(kinds)
    assert not [kind for kind in kinds if kind.startswith("Random")]
    assert kinds.count("Cast") == CASTS.get(track, 0)
    wide = {onnx.TensorProto.DOUBLE, onnx.TensorProto.FLOAT16}
    assert not wide & {tensor.data_type for tensor in graph.initializer}
    resizes = [node for node in graph.node if node.op_type == "Resize"]
    modes = {a.s for node in resizes for a in node.attribute if a.name == "mode"}
    assert len(resizes) == RESIZES.get(track, 0)
    # Cubic would be a position embedding resampled in the graph.
    assert modes <= ({b"linear", b"nearest"} if track is SEGMENTATION_2025 else {b"linear"})


@pytest.mark.parametrize(("track", "part"), PARTS)
def test_onnx_equals_torch(files, answered, photos, track, part):
    expected = answered(track, part).numpy()
    assert expected.std() > 0.05
    actual = run(files[track, part][0], *real_inputs(track, part, photos))
    difference = np.abs(actual - expected)
    if track is SEGMENTATION_2025:  # a pixel at the threshold may fall on either side
        assert difference.mean() < 1e-4
    else:
        assert difference.max() < 2e-4
        assert difference.mean() < 1e-5


@pytest.mark.parametrize(("track", "part"), PARTS)
def test_torchscript_equals_torch(files, answered, photos, track, part):
    with torch.inference_mode(), summed_as_onnxruntime(track):
        traced = torch.jit.load(files[track, part][1])
        actual = traced(*real_inputs(track, part, photos))
    torch.testing.assert_close(actual, answered(track, part))


@pytest.mark.parametrize("length", [0, 1, 40, 75])
def test_the_end_of_text_is_found_in_the_graph(files, seeded, length):
    ids = torch.full((1, 77), 49407, dtype=torch.int32)
    ids[0, 0] = 49406
    ids[0, 1 : 1 + length] = torch.arange(300, 300 + length)
    with torch.inference_mode():
        expected = seeded(RETRIEVAL_2026)["text"](ids).numpy()
    actual = run(files[RETRIEVAL_2026, TEXT][0], ids)
    np.testing.assert_allclose(actual, expected, rtol=0, atol=2e-4)


@pytest.mark.parametrize(
    ("track", "name"),
    [
        (RETRIEVAL_2026, "text"),
        pytest.param(DEPTH_2025, "model", marks=pytest.mark.slow),
        pytest.param(PIDNET, "model", marks=pytest.mark.slow),
    ],
)
def test_a_traced_module_exports_alike(files, scratch, photos, track, name):
    part = track.part(name)
    path, traced = files[track, part]
    again = export_onnx(torch.jit.load(traced), part, scratch / "again.onnx")
    first, second = onnx.load(path), onnx.load(again)
    for values in ("input", "output"):
        assert signature(getattr(first.graph, values)) == signature(getattr(second.graph, values))
    inputs = real_inputs(track, part, photos)
    np.testing.assert_array_equal(run(path, *inputs), run(again, *inputs))


def test_export_repeats(files, seeded, scratch):
    part = PIDNET.parts[0]
    again = export_onnx(seeded(PIDNET)["model"], part, scratch / "again.onnx")
    assert again.read_bytes() == files[PIDNET, part][0].read_bytes()


class Function(nn.Module):
    """A module out of a function."""

    def __init__(self, function) -> None:
        super().__init__()
        self.function = function
        self.table = nn.Parameter(torch.arange(49408.0)[:, None] / 49408, requires_grad=False)

    def forward(self, *inputs):
        return self.function(self.table, *inputs)


def embed(table, ids):
    return table[ids[0].long()].mean(0, keepdim=True)


def singular_values(table, ids):
    return torch.linalg.svd(embed(table, ids))[1]


@pytest.mark.parametrize(
    "function", [singular_values, lambda table, ids, more: embed(table, ids)], ids=["svd", "more"]
)
def test_unfit_modules_leave_no_file(tmp_path, function):
    with pytest.raises(SubmissionError, match="cannot be exported"):
        export_onnx(Function(function), TEXT, tmp_path / "text.onnx")
    assert not list(tmp_path.iterdir())


def test_a_failed_export_keeps_the_old_file(tmp_path):
    path = tmp_path / "text.onnx"
    path.write_bytes(b"old")
    with pytest.raises(SubmissionError):
        export_onnx(Function(singular_values), TEXT, path)
    assert path.read_bytes() == b"old"


def test_large_weights_go_to_a_second_file(tmp_path, monkeypatch):
    module = Function(embed)
    (ids,) = example_inputs(TEXT)
    whole = export_onnx(module, TEXT, tmp_path / "one" / "text.onnx")
    monkeypatch.setattr(export, "_LARGEST", 1000)
    path = export_onnx(module, TEXT, tmp_path / "two" / "text.onnx")
    assert sorted(file.name for file in path.parent.iterdir()) == ["text.onnx", "text.onnx.data"]
    assert path.stat().st_size < 10_000
    np.testing.assert_array_equal(run(path, ids), run(whole, ids))


def test_any_file_name(tmp_path):
    path = export_onnx(Function(embed), TEXT, tmp_path / "new" / "my model [1] *.onnx")
    assert list(path.parent.iterdir()) == [path]


def test_no_warnings(tmp_path, recwarn):
    export_onnx(Function(embed), TEXT, tmp_path / "text.onnx")
    export_torchscript(Function(embed), TEXT, tmp_path / "text.pt")
    assert not recwarn


def test_export_reference_names_its_files(tmp_path, monkeypatch):
    models = {"image": Function(lambda _, image: image.mean((2, 3))), "text": Function(embed)}
    monkeypatch.setattr(export, "build_reference", lambda *_: models)
    monkeypatch.setenv("LPCVC_CACHE", str(tmp_path / "cache"))
    for form, suffix in (("onnx", "onnx"), ("torchscript", "pt")):
        written = export_reference(RETRIEVAL_2026, tmp_path / form, form)
        assert written == {
            name: tmp_path / form / f"retrieval-2026-{name}.{suffix}" for name in ("image", "text")
        }
        assert set((tmp_path / form).iterdir()) == set(written.values())


def test_export_reference_with_weights(tmp_path, official, monkeypatch):
    monkeypatch.setenv("LPCVC_CACHE", str(tmp_path / "cache"))
    torch.save(official("pidnet_s"), tmp_path / "pidnet_s.pth")
    files = export_reference(PIDNET, tmp_path, "torchscript", tmp_path / "pidnet_s.pth")
    state = torch.jit.load(files["model"]).state_dict()
    weight = "final_layer.conv2.weight"
    assert torch.equal(state[f"network.{weight}"], official("pidnet_s")[weight])


def test_unknown_form(tmp_path):
    with pytest.raises(SubmissionError, match="choose one of: onnx, torchscript"):
        export_reference(PIDNET, tmp_path, "tflite")


def test_tracks_without_a_reference():
    with pytest.raises(SubmissionError) as raised:
        build_reference(RETRIEVAL_2026_DRAFT)
    assert raised.value.problem == "track retrieval-2026-draft has no reference model"
    assert "pidnet" in raised.value.remedy


def test_a_resolution_where_the_track_leaves_it_open():
    assert build_reference(SEGMENTATION_2025, resolution=128)["model"].resolution == 128
    with pytest.raises(SubmissionError, match="pidnet has one resolution"):
        build_reference(PIDNET, resolution=128)


def test_a_missing_library_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "transformers", None)
    for module in ("reference.depth.model", "reference.hugging_face"):
        monkeypatch.delitem(sys.modules, module, raising=False)
    with pytest.raises(SubmissionError) as raised:
        build_reference(DEPTH_2025)
    assert "needs transformers" in raised.value.problem
    assert raised.value.remedy == install_command("torch")


@pytest.mark.parametrize("track", all_tracks().values(), ids=str)
def test_example_inputs_keep_the_contract(track):
    for part in track.parts:
        inputs = example_inputs(part, track.image_high)
        assert len(inputs) == len(part.inputs)
        for value, tensor in zip(inputs, part.inputs, strict=True):
            assert value.shape == tensor.shape
            assert str(value.dtype) == f"torch.{tensor.dtypes[0]}"
        for first, second in zip(inputs, example_inputs(part, track.image_high), strict=True):
            assert torch.equal(first, second)


def test_example_values():
    (image,) = example_inputs(DEPTH_2025.parts[0], 255.0)
    assert 0 <= image.min() < 1
    assert 254 < image.max() < 255
    (ids,) = example_inputs(TEXT)
    assert ids[0, 0] == 49406
    assert ids[0, 1:11].max() < 49406
    assert ids[0, 11:].eq(49407).all()
    _, pair = example_inputs(SEGMENTATION_2025.parts[0])
    assert pair[0, 0, 1:11].max() < 49406
    assert pair[0, 0, 11:].eq(49407).all()
    assert pair[1, 0].tolist() == [1] * 12 + [0] * 65


def test_contracts_load_without_torch():
    code = "import reference.tracks, reference.errors, reference.data, sys; print(*sys.modules)"
    output = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    assert not {"torch", "transformers", "onnx"} & set(output.stdout.split())
