"""SavedModels and Keras files become ONNX that answers the same; no code of theirs is run."""

import subprocess
import sys
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest

from reference.errors import SubmissionError
from reference.install import install_command
from reference.npu.quantize import ToolProcess
from reference.process import Limits
from reference.tensorflow.convert import tensorflow_to_onnx

LIMITS = Limits(timeout=300.0)
needs_tensorflow = pytest.mark.skipif(
    find_spec("tensorflow") is None or find_spec("tf2onnx") is None,
    reason="the tensorflow extra is not installed",
)


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("tensorflow")
    write = [sys.executable, "-m", "reference.tests.tensorflow_models", str(folder)]
    done = subprocess.run(write, check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-3000:]
    return folder


@pytest.fixture(scope="module")
def process(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ToolProcess]:
    """One for all: importing TensorFlow is what takes long."""
    scratch = tmp_path_factory.mktemp("scratch")
    worker = "reference.tensorflow.worker"
    with ToolProcess(worker, "converting", scratch, lambda seconds: None, LIMITS) as found:
        yield found


def values(graph_values: object) -> dict[str, list[int]]:
    return {v.name: [d.dim_value for d in v.type.tensor_type.shape.dim] for v in graph_values}


@needs_tensorflow
def test_it_is_written_in_one_piece(models: Path, tmp_path: Path) -> None:
    made = tensorflow_to_onnx(models / "plain", tmp_path / "new" / "m.onnx", limits=LIMITS)
    assert onnx.load(made).producer_name == "tf2onnx"
    assert [path.name for path in made.parent.iterdir()] == ["m.onnx"]


@needs_tensorflow
@pytest.mark.parametrize(
    ("name", "inputs", "outputs"),
    [
        ("plain.keras", {"image": [1, 8, 12, 3]}, {"depth": [1, 2]}),
        ("plain.h5", {"image": [1, 8, 12, 3]}, {"depth": [1, 2]}),
        ("plain", {"image": [1, 8, 12, 3]}, {"output_0": [1, 2]}),
        ("row.keras", {"row": [1, 3]}, {"dense": [1, 2]}),
        (
            "named.keras",
            {"ids": [1, 4], "image": [1, 8, 12, 3]},
            {"a": [1, 8, 12], "z": [1, 2]},
        ),
        ("named", {"ids": [1, 4], "image": [1, 8, 12, 3]}, {"a": [1, 8, 12], "z": [1, 2]}),
        ("default", {"x": [1, 4]}, {"y": [1, 4]}),
        ("one", {"x": [1, 4]}, {"y": [1, 4]}),
    ],
)
def test_names_are_the_signatures_and_sizes_are_fixed(
    name: str,
    inputs: dict[str, list[int]],
    outputs: dict[str, list[int]],
    models: Path,
    process: ToolProcess,
    tmp_path: Path,
) -> None:
    path = tmp_path / "m.onnx"
    process.ask("convert", model=str(models / name), output=str(path))
    graph = onnx.load(path).graph
    assert (values(graph.input), values(graph.output)) == (inputs, outputs)
    if name.startswith("plain"):
        known = np.load(models / "answers.npz")
        session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
        (found,) = session.run(None, {"image": known["image"]})
        np.testing.assert_allclose(found, known["plain"], atol=1e-6)


PICKLED = ": a pickle, which could run any code; save the model with model.save"


@needs_tensorflow
@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("lambda.keras", "holds the Lambda layer 'stab', which runs when it is opened; write it"),
        ("lambda.h5", "holds the Lambda layer 'stab', which runs when it is opened; write it"),
        ("custom.keras", "holds the Twice layer 'twice', which is not Keras' own: its code is"),
        ("custom.h5", "holds the mine>Twice layer"),
        ("elsewhere.keras", "holds the TFSMLayer layer 'tfsm_layer', whose work is in no file"),
        ("words.keras", "holds the StringLookup layer 'string_lookup', which no NPU runs"),
        ("open.keras", "leaves sizes of the input 'image' open: ?x?x?x3; fix all but the batch"),
        ("only.weights.h5", "only.weights.h5 holds weights and no model; load them into your"),
        ("link.h5", "link.h5 holds a link, 'more' to /etc/other.h5"),
        ("outside.h5", "outside.h5 has the numbers of /more in other files"),
        ("objects.h5", f"objects.h5 holds objects and not numbers in /more{PICKLED}"),
        ("attribute.h5", f"not numbers in /, attribute 'more'{PICKLED}"),
        ("pickle.h5", "pickle.h5 is damaged (Unable to synchronously open file (file signature"),
        ("cut-plain.h5", "cut-plain.h5 is damaged (Unable to synchronously open file (truncated"),
        ("cut-plain.keras", "cut-plain.keras cannot be unpacked"),
        ("cut", "cut/saved_model.pb is damaged (Error parsing message"),
        ("asset", "asset has the asset ../../etc/passwd, which is outside"),
        ("leads-out", "leads-out holds variables/variables.index, a link that leads outside"),
        ("no-variables", "no-variables has no variables/variables.index, and the weights are in"),
        ("old", "old is a SavedModel of TensorFlow 1, which runs operators when it is opened"),
        ("untagged", "untagged holds no graph to serve"),
        ("table", "table holds lookup tables or other resources, which no NPU runs"),
        ("python", "python runs EagerPyFunc, which reaches beyond the model"),
        ("writes", "writes runs WriteFile, which reaches beyond the model"),
        ("keeps", "keeps runs SaveV2, which reaches beyond the model"),
        ("none", "none has no signature; tf.saved_model.save(model, FOLDER, signatures="),
        ("two", "two has 2 signatures, train, predict, and none is called serving_default"),
        ("unknown", "unknown has operators that ONNX does not have: Lgamma; write them"),
    ],
)
def test_what_is_refused(
    name: str, told: str, models: Path, process: ToolProcess, tmp_path: Path
) -> None:
    with pytest.raises(SubmissionError) as refused:
        process.ask("convert", model=str(models / name), output=str(tmp_path / "m.onnx"))
    assert told in str(refused.value)
    assert not {"stabbed", "written", "kept.index"} & {path.name for path in models.iterdir()}
    assert not (tmp_path / "m.onnx").exists()


@pytest.mark.parametrize("missing", ["tensorflow", "tf2onnx"])
def test_without_tensorflow(missing: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        "reference.tensorflow.convert.find_spec", lambda name: name != missing or None
    )
    with pytest.raises(SubmissionError, match="are not both installed") as refused:
        tensorflow_to_onnx(tmp_path / "m.keras", tmp_path / "m.onnx")
    assert install_command("tensorflow") in refused.value.remedy
