import hashlib
import pickle
import re
import struct
import zipfile
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from reference.errors import SubmissionError
from reference.weights import (
    check_keys,
    checkpoint_shapes,
    load_strict,
    read_checkpoint,
    seed_weights,
    unwrapped,
)

STATE = {"a.weight": torch.arange(6.0).view(2, 3), "a.bias": torch.tensor([0.5, -1.0]).half()}


class MarksFile:
    """Writes a file when it is unpickled."""

    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self):
        return (Path.touch, (self.marker,))


def same(left, right) -> bool:
    return left.keys() == right.keys() and all(
        left[key].dtype == right[key].dtype and torch.equal(left[key], right[key]) for key in left
    )


@pytest.mark.parametrize(
    "content",
    [
        STATE,
        {"state_dict": STATE, "epoch": 3},
        {"model": STATE},
        {"model_state_dict": STATE, "optimizer_state_dict": {"state": {}}},
        {**STATE, "epoch": 3, "note": "text"},
        {name: nn.Parameter(value) for name, value in STATE.items()},
    ],
    ids=["flat", "state_dict", "model", "model_state_dict", "extra", "params"],
)
def test_pickled_state_dicts(tmp_path, content):
    path = tmp_path / "weights.pth"
    torch.save(content, path)
    read = read_checkpoint(path)
    assert same(read, STATE)
    assert not any(value.requires_grad for value in read.values())


@pytest.mark.parametrize("name", ["weights.safetensors", "weights.SAFETENSORS"])
def test_safetensors(tmp_path, name):
    save_file(STATE, tmp_path / name)
    assert same(read_checkpoint(tmp_path / name), STATE)


def test_old_pickle_format(tmp_path):
    path = tmp_path / "weights.pt"
    torch.save(STATE, path, _use_new_zipfile_serialization=False)
    assert same(read_checkpoint(path), STATE)


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_torchscript_archive(tmp_path, recwarn):
    layer = nn.Sequential(nn.Linear(3, 2), nn.BatchNorm1d(2)).eval()
    path = tmp_path / "weights.pt"
    torch.jit.script(layer).save(str(path))
    recwarn.clear()
    assert same(read_checkpoint(path), dict(layer.state_dict()))
    assert not recwarn


def refused(path: Path) -> SubmissionError:
    with pytest.raises(SubmissionError) as raised:
        read_checkpoint(path)
    assert str(path) in raised.value.problem
    assert "\n" not in str(raised.value)
    return raised.value


def test_missing_file(tmp_path):
    assert "no file" in refused(tmp_path / "weights.pth").problem


def test_a_folder_is_no_file(tmp_path):
    (tmp_path / "weights.pth").mkdir()
    assert "no file" in refused(tmp_path / "weights.pth").problem


@pytest.mark.parametrize("name", ["weights.onnx", "weights", "weights.pth.zip"])
def test_wrong_extension(tmp_path, name):
    torch.save(STATE, tmp_path / name)
    error = refused(tmp_path / name)
    assert "unknown kind" in error.problem
    assert ".safetensors" in error.remedy


@pytest.mark.parametrize("suffix", ["pth", "pt", "safetensors"])
@pytest.mark.parametrize("share", [0.0, 0.3, 0.9])
def test_truncated(tmp_path, suffix, share):
    path = tmp_path / f"weights.{suffix}"
    if suffix == "safetensors":
        save_file(STATE, path)
    elif suffix == "pth":
        torch.save(STATE, path)
    else:
        torch.save(STATE, path, _use_new_zipfile_serialization=False)
    whole = path.read_bytes()
    path.write_bytes(whole[: int(len(whole) * share)])
    assert "damaged" in refused(path).problem


@pytest.mark.parametrize("suffix", ["pth", "safetensors"])
@pytest.mark.parametrize(
    "content",
    [
        b"<html>not found</html>",
        b"\x00" * 64,
        b"\xff" * 64,
        b"PK\x03\x04 no zip",
        b"\x80\x02]q\x00.",
    ],
)
def test_garbage(tmp_path, suffix, content):
    path = tmp_path / f"weights.{suffix}"
    path.write_bytes(content)
    assert "weights_only" not in str(refused(path))


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_archive_without_its_code(tmp_path):
    path = tmp_path / "weights.pt"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("weights/code/__torch__.py", "import os")
    assert "damaged" in refused(path).problem


@pytest.mark.parametrize("form", ["zip", "old", "bare"])
def test_a_pickle_does_not_run(tmp_path, form):
    path, marker = tmp_path / "weights.pth", tmp_path / "marker"
    content = {**STATE, "payload": MarksFile(marker)}
    if form == "bare":
        path.write_bytes(pickle.dumps(content, protocol=2))
    else:
        torch.save(content, path, _use_new_zipfile_serialization=form == "zip")
    error = refused(path)
    assert not marker.exists()
    assert "run code" in error.problem
    assert "safetensors" in error.remedy
    pickle.loads(pickle.dumps(content["payload"]))
    assert marker.exists()  # what would have happened


def test_a_pickled_module_is_refused(tmp_path):
    torch.save(nn.Linear(2, 2), tmp_path / "weights.pth")
    assert "run code" in refused(tmp_path / "weights.pth").problem


@pytest.mark.parametrize(
    "content", [{}, {"epoch": 3}, [torch.ones(1)], torch.ones(1), {"model": {"a": 1}}, {1: 2}]
)
def test_no_tensors(tmp_path, content):
    torch.save(content, tmp_path / "weights.pth")
    assert "no named tensors" in refused(tmp_path / "weights.pth").problem


def test_no_tensors_in_safetensors(tmp_path):
    header = b"{}"
    path = tmp_path / "weights.safetensors"
    path.write_bytes(struct.pack("<Q", len(header)) + header)
    assert "no named tensors" in refused(path).problem


@pytest.mark.parametrize(
    ("name", "count", "key", "shape"),
    [
        ("clip_vitb32", 302, "visual.conv1.weight", (768, 3, 32, 32)),
        ("dav2_vits", 239, "pretrained.pos_embed", (1, 1370, 384)),
        ("pidnet_s", 453, "conv1.1.num_batches_tracked", ()),
    ],
)
def test_checkpoint_shapes(name, count, key, shape):
    shapes = checkpoint_shapes(name)
    assert len(shapes) == count
    assert shapes[key] == shape


def test_check_keys_names_every_fault():
    expected = {"a": (1,), "b": (2, 3), "c": (), "d": (1,), "e": (1,)}
    state = {"b": torch.ones(3, 2), "c": torch.tensor(1.0), "x": torch.ones(1)}
    with pytest.raises(SubmissionError) as raised:
        check_keys(expected, state, source="mine.pth")
    assert raised.value.problem == (
        "mine.pth is not a checkpoint of this model: tensors 3 missing (a, d, ...); "
        "1 unexpected (x); 1 of another shape (b is 3x2, not 2x3)"
    )


def test_load_strict():
    layer = nn.Linear(3, 2)
    load_strict(layer, {"weight": STATE["a.weight"], "bias": STATE["a.bias"]}, source="file")
    assert layer.bias.dtype == torch.float32
    assert layer.bias.tolist() == [0.5, -1.0]
    assert torch.equal(layer.weight, STATE["a.weight"])


@pytest.mark.parametrize("prefix", ["module.", "_orig_mod.", "model.backbone."])
def test_what_a_wrapper_put_before_every_name_is_left_out(prefix):
    layer = nn.Sequential(nn.Linear(3, 2), nn.Linear(2, 2))
    state = {name: torch.full_like(t, 2) for name, t in layer.state_dict().items()}
    load_strict(layer, {prefix + name: t for name, t in state.items()}, source="file")
    assert same(dict(layer.state_dict()), state)
    for odd in ("more.weight", f"{prefix}2.weight"):
        wrapped = {prefix + name: t for name, t in state.items()} | {odd: torch.ones(1)}
        assert unwrapped(wrapped, state) is wrapped
    assert unwrapped({}, state) == {}


@pytest.mark.parametrize(
    ("state", "message"),
    [
        ({"weight": torch.ones(2, 3)}, "1 missing (bias)"),
        ({**nn.Linear(3, 2).state_dict(), "scale": torch.ones(1)}, "1 unexpected (scale)"),
        (nn.Linear(2, 3).state_dict(), "weight is 3x2, not 2x3"),
    ],
)
def test_load_strict_refuses(state, message):
    layer = nn.Linear(3, 2)
    before = layer.weight.clone()
    with pytest.raises(SubmissionError, match=re.escape(message)):
        load_strict(layer, state, source="file")
    assert torch.equal(layer.weight, before)


def small_module() -> nn.Module:
    return nn.ModuleDict({"conv": nn.Conv2d(3, 4, 3), "norm": nn.BatchNorm2d(4)})


def test_seeded_weights_repeat_on_any_machine(digest):
    module = small_module()
    seed_weights(module)
    bits = module["conv"].weight.detach().numpy().astype("<f4").tobytes()
    assert (
        hashlib.sha256(bits).hexdigest()
        == "95b3e329cefffda72c71e1e1421c281b38d87ce8870b70ccd9842bf28c6a24ab"
    )
    assert (
        digest(module) == "d37333d2b07fe52ed10e5c40202f8315a082da62840fdaf02d6f66ffe5c3ff6d"
    )  # every kind of tensor


def test_seeding_is_independent_of_the_global_state_and_order():
    first, second = small_module(), nn.ModuleDict(reversed(list(small_module().items())))
    torch.manual_seed(1)
    seed_weights(first)
    after = torch.rand(1)
    torch.manual_seed(1)
    assert torch.equal(after, torch.rand(1))
    seed_weights(second)
    assert list(first.state_dict()) != list(second.state_dict())
    assert same(dict(first.state_dict()), dict(second.state_dict()))


def test_seeding_differs_by_name():
    pair = nn.ModuleList([nn.Linear(8, 8), nn.Linear(8, 8)])
    seed_weights(pair)
    correlation = torch.corrcoef(torch.stack([layer.weight.flatten() for layer in pair]))[0, 1]
    assert abs(correlation) < 0.3


def test_seeded_scales():
    module = nn.Sequential(nn.Conv2d(64, 32, 3), nn.BatchNorm2d(32), nn.Linear(1000, 50))
    seed_weights(module)
    conv, norm, linear = module.requires_grad_(False)
    assert conv.weight.std() == pytest.approx((64 * 9) ** -0.5, rel=0.02)
    assert linear.weight.std() == pytest.approx(1000**-0.5, rel=0.02)
    assert abs(linear.weight.mean()) < 1e-3
    for near_one in (norm.weight, norm.running_var):
        assert 0.75 <= near_one.min() < near_one.max() <= 1.25
    for small in (conv.bias, norm.bias, norm.running_mean):
        assert 0 < small.abs().max() <= 0.1
    assert norm.num_batches_tracked == 0
