"""The lines of a model card run as they are printed, with a reference as the card's model."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from reference.action.model import ActionModel
from reference.classification.model import Classifier
from reference.depth.model import DepthModel
from reference.npu.toolchain import find_toolchain
from reference.pidnet.model import CityscapesModel
from reference.recipe import Recipe
from reference.retrieval.model import ImageEncoder, TextEncoder
from reference.segmentation.model import XDecoder

ROOT = Path(__file__).parents[2]
# Model card PidNet, "How does this work?", steps 1 to 3, where its package is taken from here.
BEFORE = """
import sys
from types import ModuleType
from {module} import {name} as Model
for name in ("qai_hub_models", "qai_hub_models.models", "qai_hub_models.models.pidnet"):
    sys.modules[name] = ModuleType(name)
sys.modules[name].Model = Model
"""
CARD = """
import torch

import qai_hub as hub
from qai_hub_models.models.pidnet import Model

torch_model = Model.from_pretrained()
device = hub.Device("Samsung Galaxy S24")
input_shape = torch_model.get_input_spec()
sample_inputs = torch_model.sample_inputs()

pt_model = torch.jit.trace(
    torch_model, [torch.tensor(data[0]) for _, data in sample_inputs.items()]
)

compile_job = hub.submit_compile_job(
    model=pt_model,
    device=device,
    input_specs=torch_model.get_input_spec(),
)
target_model = compile_job.get_target_model()
profile_job = hub.submit_profile_job(
    model=target_model,
    device=device,
)
input_data = torch_model.sample_inputs()
inference_job = hub.submit_inference_job(
    model=target_model,
    device=device,
    inputs=input_data,
)
on_device_output = inference_job.download_output_data()
"""
AFTER = """
import numpy
(output,) = (arrays[0] for arrays in on_device_output.values())
host = torch_model(torch.tensor(input_data["image"][0])).numpy()
image, (shape, _) = sample_inputs["image"][0], input_shape["image"]
numpy.savez("ran.npz", output=output, image=image, host=host, shape=shape)
assert profile_job.wait().success
"""


def carried_out(model: type[Recipe], folder: Path, **hub: object) -> dict[str, np.ndarray]:
    """What the card's lines have at the end, in a process of their own on a local hub."""
    pytest.importorskip("qai_hub", reason="needs the hub extra")
    from reference.aihub.local import local_hub

    before = BEFORE.format(module=model.__module__, name=model.__name__)
    with local_hub(folder / "state", **hub) as own:
        ini = folder / "client.ini"
        lines = [f"{name} = {own.url}" for name in ("api_url", "web_url")]
        ini.write_text("\n".join(["[api]", *lines, f"api_token = {own.token}", "verbose = True"]))
        done = subprocess.run(
            [sys.executable, "-W", "ignore", "-c", before + CARD + AFTER],
            cwd=folder,
            env={**os.environ, "PYTHONPATH": str(ROOT), "QAIHUB_CLIENT_INI": str(ini)},
            capture_output=True,
            text=True,
            check=False,
            timeout=3600,
        )
    assert done.returncode == 0, done.stderr
    with np.load(folder / "ran.npz") as arrays:
        return dict(arrays)


def test_the_lines_of_the_card_run_as_printed(tmp_path: Path) -> None:
    """With the official client and the smallest reference; the hub gives back what it is fed."""
    ran = carried_out(Classifier, tmp_path, runner="reference.tests.hub_runner:run")
    assert ran["shape"].tolist() == [1, 3, 224, 224]
    np.testing.assert_array_equal(ran["output"], ran["image"])
    assert ran["host"].shape == (1, 64)


@pytest.mark.slow
def test_and_the_emulated_device_answers_as_the_model_does(tmp_path: Path) -> None:
    """PIDNet-S itself, by PSNR, which the card names; one pooling is compiled to other values
    (E31). Minutes.
    """
    try:
        find_toolchain()
    except Exception as error:
        pytest.skip(str(error))
    ran = carried_out(CityscapesModel, tmp_path)
    assert ran["image"].shape == (1, 3, 1024, 2048)
    error = np.mean(
        (ran["output"].astype(np.float64).reshape(ran["host"].shape) - ran["host"]) ** 2
    )
    assert 10 * np.log10(np.abs(ran["host"]).max() ** 2 / error) > 40


PICTURE = {"image": ((1, 3, 224, 224), "float32")}
RECIPES = {
    CityscapesModel: ({"image": ((1, 3, 1024, 2048), "float32")}, 1),
    DepthModel: ({"image": ((1, 3, 480, 640), "float32")}, 255),
    XDecoder: (
        {
            "image_input": ((1, 3, 1024, 1024), "float32"),
            "text_input": ((2, 1, 77), "int32"),
        },
        255,
    ),
    ImageEncoder: (PICTURE, 1),
    TextEncoder: ({"text": ((1, 77), "int64")}, 49407),
    Classifier: (PICTURE, 1),
    ActionModel: ({"video": ((1, 16, 112, 112, 3), "float32")}, 1),
}


@pytest.mark.parametrize("kind", RECIPES, ids=lambda kind: kind.__name__)
def test_each_reference_says_what_it_takes(kind: type[Recipe]) -> None:
    model = kind.__new__(kind)
    nn.Module.__init__(model)
    specs, most = RECIPES[kind]
    assert model.get_input_spec() == specs
    samples = model.sample_inputs()
    assert [*samples] == [*specs], "in the order of the model's arguments"
    for name, (sample,) in samples.items():
        shape, dtype = specs[name]
        assert sample.shape == shape
        assert sample.dtype == (dtype if dtype == "float32" else "int32"), "ids are truncated"
        assert 0 <= sample.min() < sample.max() <= most or name == "text_input"
        assert sample.astype(np.float64).std() > 0.05


def test_a_reference_takes_its_samples_and_is_traced_alike() -> None:
    model = Classifier.from_pretrained()
    assert not model.training
    samples = [torch.tensor(data[0]) for _, data in model.sample_inputs().items()]
    with pytest.warns(DeprecationWarning, match=r"torch\.jit"):
        traced = torch.jit.trace(model, samples)
    torch.testing.assert_close(traced(*samples), model(*samples))
    assert model(*samples).shape == (1, 64)


def test_the_other_layout_of_clips_is_its_own() -> None:
    model = ActionModel(channels_last=False)
    assert model.get_input_spec() == {"video": ((1, 3, 16, 112, 112), "float32")}
    assert model.sample_inputs()["video"][0].shape == (1, 3, 16, 112, 112)
