"""TFLite on the local AI Hub: the depth track's published flow, and what jobs do beyond it."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from reference.aihub.local import LocalHub, local_hub
from reference.aihub.tasks import Model, ModelKind, Result, TaskError
from reference.litert.interpreter import Interpreter
from reference.litert.network import read_network
from reference.tests import tflite_models as models
from reference.tests.aihub_jobs import S24, compile_it, download, infer, upload
from reference.tests.npu_models import needs_compiler
from reference.tests.tflite_models import PICTURE, needs_converter, needs_litert

qai_hub = pytest.importorskip("qai_hub", reason="needs the hub extra")

pytestmark = [
    needs_litert,
    needs_converter,
    needs_compiler,
    pytest.mark.usefixtures("shared_cache"),
    pytest.mark.filterwarnings("ignore"),
]
SHAPE = (1, 3, 24, 32)
PHOTO = np.random.default_rng(0).random(SHAPE, dtype=np.float32)


class Depth(nn.Module):
    """A map of a picture, from 0 to 1."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.features = nn.Conv2d(3, 8, 3, padding=1)
        self.depth = nn.Conv2d(8, 1, 3, padding=1)

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        found = self.depth(self.features(image).relu())
        low, high = found.amin((2, 3), keepdim=True), found.amax((2, 3), keepdim=True)
        return (found - low) / (high - low).clamp(min=1e-6)


@pytest.fixture(scope="module")
def hub() -> Iterator[LocalHub]:
    with local_hub() as running:
        yield running


def expected() -> np.ndarray:
    with torch.no_grad():
        return Depth().eval()(torch.from_numpy(PHOTO)).numpy()


def traced(folder: Path) -> Model:
    path = folder / "depth.pt"
    torch.jit.trace(Depth().eval(), torch.from_numpy(PHOTO)).save(path)
    return Model(path, ModelKind.TORCHSCRIPT)


def exported(folder: Path) -> Model:
    path = folder / "depth.pt2"
    torch.export.save(torch.export.export(Depth().eval(), (torch.from_numpy(PHOTO),)), path)
    return Model(path, ModelKind.TORCH_EXPORTED_PROGRAM)


def test_the_depth_track_s_flow(hub: LocalHub, tmp_path: Path) -> None:
    """Trace, compile without options, profile, infer, look: the client as it is published."""
    client = hub.client
    device = qai_hub.Device("Samsung Galaxy S24 (Family)")
    model = torch.jit.trace(Depth().eval(), torch.from_numpy(PHOTO))
    compile_job = client.submit_compile_job(
        model=model, device=device, input_specs={"image": SHAPE}
    )
    target = compile_job.get_target_model()
    assert compile_job.wait().success, compile_job.get_status().message
    assert target.model_type == qai_hub.SourceModelType.TFLITE
    assert compile_job.get_target_shapes() == {"image": (SHAPE, "float32")}

    profile = client.submit_profile_job(model=target, device=device).download_profile()
    layers = profile["execution_detail"]
    assert {layer["compute_unit"] for layer in layers} == {"NPU"}
    assert [layer["type"] for layer in layers].count("CONV_2D") == 2

    run = client.submit_inference_job(model=target, device=device, inputs={"image": [PHOTO]})
    (depth,) = run.download_output_data()["output_0"]
    assert depth.shape == (1, 1, 24, 32)
    assert np.abs(depth - expected()).max() < 0.01

    path = Path(target.download(str(tmp_path / "depth.tflite")))
    assert [(v.name, v.shape) for v in read_network(path).inputs] == [("image", SHAPE)]
    with Interpreter(path) as interpreter:
        own = interpreter.run({"image": PHOTO})["output_0"]
    np.testing.assert_allclose(own, expected(), atol=1e-5)


def tflite(build: str, folder: Path) -> Model:
    path = folder / f"{build}.tflite"
    path.write_bytes(getattr(models, build)())
    return Model(path, ModelKind.TFLITE)


def notice(result: Result) -> str:
    return result.notices[0]


def test_a_tflite_file_that_is_brought(tmp_path: Path) -> None:
    feeds = {name: [np.ones(PICTURE, np.float32)] for name in ("image", "other")}
    found = infer(tflite("mixed", tmp_path), tmp_path / "run", feeds, profile=True)
    assert notice(found) == (
        "computed by QAIRT's emulator of SM8650 on this host, 1 operators by LiteRT on its CPU,"
        " not by a device"
    )
    profile = found.profile
    assert profile is not None
    assert sorted((layer.type, layer.unit.name) for layer in profile.layers) == [
        ("ATAN2", "CPU"),
        ("CONV_2D", "NPU"),
        ("CONV_2D", "NPU"),
    ]
    assert profile.estimate is None
    on_cpu = infer(tflite("mixed", tmp_path), tmp_path / "cpu", feeds, options="--compute_unit cpu")
    assert notice(on_cpu).startswith("computed by LiteRT on this host's CPU")
    mine, theirs = (download(each.outputs)["map"][0] for each in (found, on_cpu))
    assert np.abs(mine - theirs).max() < 0.01


def test_integers_that_are_brought(tmp_path: Path) -> None:
    feeds = {"image": [np.full(PICTURE, 40, np.int8)]}
    found = infer(tflite("quantised", tmp_path), tmp_path / "run", feeds)
    assert download(found.outputs)["map"][0].dtype == np.int8
    assert [spec.scale for spec in found.input_spec] == pytest.approx([0.02])


@pytest.mark.parametrize("build", ["custom", "dynamic", "several", "enormous"])
def test_what_cannot_be_run_is_refused_in_one_line(build: str, tmp_path: Path) -> None:
    with pytest.raises(TaskError, match=f"^{build}.tflite has "):
        infer(tflite(build, tmp_path), tmp_path / "run", {"image": [PHOTO]})


@pytest.mark.slow
def test_a_program_with_its_channels_last(tmp_path: Path) -> None:
    made = compile_it(
        exported(tmp_path),
        tmp_path / "job",
        "--target_runtime tflite --output_names depth --force_channel_last_input image"
        " --force_channel_last_output depth",
    )
    assert [(s.name, s.shape) for s in (*made.input_spec, *made.output_spec)] == [
        ("image", (1, 24, 32, 3)),
        ("depth", (1, 24, 32, 1)),
    ]
    last = PHOTO.transpose(0, 2, 3, 1)
    answer = download(infer(made.model, tmp_path / "run", {"image": [last]}).outputs)["depth"][0]
    assert np.abs(answer.transpose(0, 3, 1, 2) - expected()).max() < 0.01


@pytest.mark.slow
@pytest.mark.parametrize("ends", ["", " --quantize_io"], ids=["float", "integer"])
def test_integers_are_made(ends: str, tmp_path: Path) -> None:
    rng = np.random.default_rng(1)
    samples = {"image": [rng.random(SHAPE, dtype=np.float32) for _ in range(4)]}
    made = compile_it(
        traced(tmp_path),
        tmp_path / "job",
        f"--target_runtime tflite --quantize_full_type int8{ends}",
        {"image": SHAPE},
        calibration=upload(samples, tmp_path / "samples.h5"),
    )
    (given,) = made.input_spec
    assert given.dtype == ("int8" if ends else "float32")
    assert any("calibrated on 4 samples by their extremes, w8a8" in n for n in made.notices)
    feed = PHOTO
    if ends:
        feed = np.clip(np.round(PHOTO / given.scale) + given.zero_point, -128, 127).astype(np.int8)
    answer = download(infer(made.model, tmp_path / "run", {"image": [feed]}).outputs)
    (depth,) = answer["output_0"]
    (out,) = made.output_spec
    if ends:
        depth = (depth.astype(np.float32) - out.zero_point) * out.scale
    assert np.corrcoef(depth.ravel(), expected().ravel())[0, 1] > 0.99


def test_what_is_refused(tmp_path: Path) -> None:
    with pytest.raises(TaskError, match="names 'picture', and the model has 'image'"):
        compile_it(
            traced(tmp_path),
            tmp_path / "job",
            "--target_runtime tflite --force_channel_last_input picture",
            {"image": SHAPE},
        )
    with pytest.raises(TaskError, match="w4a8 for tflite; choose int8 or w8a16"):
        compile_it(
            traced(tmp_path),
            tmp_path / "job",
            "--target_runtime tflite --quantize_full_type w4a8",
            {"image": SHAPE},
        )
    with pytest.raises(TaskError, match="Must use --truncate_64bit_io when input"):
        compile_it(traced(tmp_path), tmp_path / "job", "", {"image": (SHAPE, "int64")}, S24)
