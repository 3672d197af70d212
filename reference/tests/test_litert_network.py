"""What a TFLite file says of itself, and files that are damaged or hostile."""

import contextlib
from pathlib import Path

import numpy as np
import pytest

from reference.errors import SubmissionError
from reference.litert.interpreter import Interpreter
from reference.litert.network import Value, read_network, usable_network
from reference.process import ChildError, Limits
from reference.tests import tflite_models as models
from reference.tests.tflite_models import PICTURE, needs_litert

pytestmark = needs_litert
LIMITS = Limits(timeout=60.0, memory=2**30)


def save(content: bytes, folder: Path) -> Path:
    path = folder / "my.tflite"
    path.write_bytes(content)
    return path


def test_what_a_file_says_of_itself(tmp_path: Path) -> None:
    network = read_network(save(models.mixed(), tmp_path))
    assert network.inputs == (
        Value("image", PICTURE, "float32", 0),
        Value("other", PICTURE, "float32", 1),
    )
    assert [value.name for value in network.outputs] == ["map"]
    assert network.counts == {"CONV_2D": 2, "ATAN2": 1}
    assert [each.name for each in network.operators] == ["t5", "t2", "t8"]
    assert (network.signatures, network.graphs, network.custom) == (("main",), 1, ())
    assert network.largest == 4 * np.prod(PICTURE)
    assert not network.quantised


def test_without_a_signature_names_are_those_of_the_tensors(tmp_path: Path) -> None:
    file = models.File()
    source = file.tensor(PICTURE)
    output = models.convolution(file, source)
    network = usable_network(save(file.content({"": source}, {"": output}, ()), tmp_path))
    assert (network.inputs[0].name, network.outputs[0].name) == ("t0", "t3")


def test_scales_of_a_quantised_file(tmp_path: Path) -> None:
    network = read_network(save(models.quantised(), tmp_path))
    assert network.quantised
    ends = network.inputs[0], network.outputs[0]
    assert [value.dtype for value in ends] == ["int8", "int8"]
    assert [value.scale for value in ends] == pytest.approx([0.02, 0.03])
    assert [value.zero_point for value in ends] == [3, -7]


@pytest.mark.parametrize(
    ("build", "says"),
    [
        ("custom", "custom operators (Sorcery)"),
        ("dynamic", "the dynamic shape [-1, 8, 16, 4] at 'image'"),
        ("several", "2 signatures (one, two)"),
        ("enormous", "a tensor of 6.87e+10 GiB"),
    ],
)
def test_what_cannot_be_run_is_told_in_one_line(build: str, says: str, tmp_path: Path) -> None:
    path = save(getattr(models, build)(), tmp_path)
    assert read_network(path).inputs[0].name == "image"
    with pytest.raises(SubmissionError) as raised:
        usable_network(path)
    assert says in raised.value.problem
    assert "my.tflite" in str(raised.value)


@pytest.mark.parametrize("content", [b"", b"PK\3\4model", b"\x1c\0\0\0TFL3"], ids=len)
def test_what_is_no_tflite_file(content: bytes, tmp_path: Path) -> None:
    with pytest.raises(SubmissionError, match=r"my\.tflite is (not|a damaged)"):
        read_network(save(content, tmp_path))


def says(path: Path) -> str:
    """Why the file is refused; empty where it is read."""
    try:
        read_network(path)
    except SubmissionError as error:
        return str(error)
    return ""


def damaged(whole: bytes, rng: np.random.Generator) -> bytes:
    changed = np.frombuffer(whole, np.uint8).copy()
    places = rng.integers(8, len(changed), rng.integers(1, 8))
    changed[places] = rng.choice([0, 1, 0x7F, 0x80, 0xFF], len(places))
    return changed.tobytes()


def test_a_file_cut_short_anywhere(tmp_path: Path) -> None:
    whole = models.mixed()
    told = {says(save(whole[:length], tmp_path)) for length in range(8, len(whole), 37)}
    assert all("is a damaged TFLite file, or was cut short" in text for text in told if text)
    assert says(save(whole[: len(whole) // 2], tmp_path))


def test_damaged_files_are_read_or_refused(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    whole = models.mixed()
    told = [says(save(damaged(whole, rng), tmp_path)) for _ in range(200)]
    assert 10 < sum(map(bool, told)) < 200
    assert not any("\n" in text for text in told)


def test_lists_without_end_are_not_walked(tmp_path: Path) -> None:
    """A graph whose operators are all one and the same, hundreds of millions of times."""
    content = bytearray(models.plain())
    graph = models.plain()
    lengths = [at for at in range(8, len(graph) - 4, 4) if graph[at : at + 4] == b"\2\0\0\0"]
    assert lengths
    for at in lengths:
        content[at : at + 4] = (2**31 - 1).to_bytes(4, "little")
    with pytest.raises(SubmissionError, match="a list of 2147483647 in"):
        read_network(save(bytes(content), tmp_path))


def test_the_interpreter_survives_what_the_reader_lets_pass(tmp_path: Path) -> None:
    """What else is wrong LiteRT notices, or crashes on, in its own process."""
    rng = np.random.default_rng(1)
    whole = models.plain()
    tables = whole[len(whole) // 2 :]  # weights come first
    tried = 0
    while tried < 5:
        path = save(whole[: len(whole) // 2] + damaged(tables, rng), tmp_path)
        if says(path):
            continue
        tried += 1
        with (
            contextlib.suppress(SubmissionError, ChildError),
            Interpreter(path, LIMITS) as interpreter,
        ):
            interpreter.run({"image": np.zeros(PICTURE, np.float32)})


def test_tables_of_another_type_do_no_harm(tmp_path: Path) -> None:
    with pytest.raises(SubmissionError, match="damaged"):
        read_network(save(b"\x08\0\0\0TFL3" + b"\xff" * 64, tmp_path))
