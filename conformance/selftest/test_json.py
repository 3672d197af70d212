"""`--json`: every verb that finds something says it as one document too."""

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import click
import onnx
import pytest

from conformance.cli import lpcvc, main
from conformance.rulebook import all_rules
from conformance.selftest.models import conforming
from conformance.selftest.test_gate import save_mutant
from conformance.verbs import in_json
from reference.data import fixture
from reference.npu.devices import all_devices

pytestmark = pytest.mark.usefixtures("one_process")

# Why there is nothing that a program would read.
WITHOUT = {
    "hub serve": "it runs until Ctrl-C",
    "selftest": "it is for those who work on the suite, who read it",
}
# What a number is where its key has no unit: a score in the unit of its measure, or a share.
PLAIN = {"score", "low", "high", "chance"}
MEASURES = {"means", "worst"}  # are called as the track calls them
UNITS = ("_ms", "_seconds", "_bytes", "_db")


def verbs(group: click.Group = lpcvc, above: str = "") -> Iterator[tuple[str, click.Command]]:
    context = click.Context(group)
    for name in group.list_commands(context):
        _, command, _ = group.resolve_command(context, [name])
        assert command is not None
        if isinstance(command, click.Group):
            yield from verbs(command, f"{name} ")
        else:
            yield f"{above}{name}", command


def test_every_verb_has_it() -> None:
    without = {
        name
        for name, command in verbs()
        if not any("--json" in param.opts for param in command.params)
    }
    assert without == set(WITHOUT)


@pytest.fixture(scope="module")
def shelf(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("json")
    onnx.save(conforming("depth"), folder / "my.onnx")
    save_mutant("depth up to 1.001", folder / "broken.onnx")
    other = conforming("depth")
    other.graph.input[0].name = other.graph.node[0].input[0] = "picture"
    onnx.save(other, folder / "named.onnx")
    return folder


def told(*words: str, code: int = 0, capsys: pytest.CaptureFixture[str]) -> Any:
    assert main([*words, "--json"]) == code
    document = json.loads(capsys.readouterr().out)
    assert {key for key in _floats(document) if not key.endswith(UNITS)} <= PLAIN
    return document


def _floats(value: object, key: str = "") -> Iterator[str]:
    """The keys of numbers that are no counts."""
    match value:
        case float():
            yield key
        case Mapping():
            for name, each in value.items():
                if name not in MEASURES:
                    yield from _floats(each, name)
        case list():
            for each in value:
                yield from _floats(each, key)


def test_devices_and_rules(capsys: pytest.CaptureFixture[str]) -> None:
    devices = told("devices", capsys=capsys)
    assert [each["name"] for each in devices] == [device.name for device in all_devices()]
    assert devices[0].keys() >= {"soc", "hexagon", "float16", "vtcm_mb"}
    rules = told("rules", capsys=capsys)
    assert [rule["id"] for rule in rules] == list(all_rules())
    (one,) = told("rules", "--explain", "seg-7", capsys=capsys)
    assert (one["id"], one["level"], one["needs"]) == ("SEG-7", "required", "runs")
    assert one["tracks"] == ["segmentation-2025"]
    assert all(one[key] for key in ("statement", "text", "sources", "remedy"))


def test_check(shelf: Path, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    files = [str(shelf / "my.onnx"), str(shelf / "named.onnx"), str(tmp_path / "gone.onnx")]
    found = told("check", "--track=depth", *files, code=1, capsys=capsys)
    assert (found["files"], found["failing"]) == (3, 2)
    named, gone = found["broken"]
    assert (named["file"], named["rule"], named["fails"]) == (files[1], "DEP-1", True)
    assert named["level"] == "required"
    assert (gone["rule"], gone["seen"]) == ("", f"no such file: {files[2]}")


def test_a_mistake_is_no_document(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["check", "--track=dept", "--json", "a.onnx"]) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.startswith("lpcvc: unknown track or edition 'dept'")


def test_data_and_scores(shelf: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    data = fixture("samples/depth")
    found = told("data", "check", str(data), "--track=depth", capsys=capsys)
    assert (found["track"], found["folder"]) == ("depth-2025", str(data))
    assert (found["items"], found["errors"]) == (4, 0)
    assert {figure["like"] for figure in found["figures"]} <= {True, False, None}
    pytest.importorskip("numba")
    score = ["score", "--track=depth", f"--data={data}", f"--submission={shelf / 'my.onnx'}"]
    found = told(*score, f"--results={tmp_path / 'r.sqlite'}", capsys=capsys)
    assert (found["submission"], found["items"], found["no_answer"]) == ("my.onnx", 4, {})
    assert found["low"] <= found["score"] <= found["high"]
    assert len(found["data_sha256"]) == 64


def test_fix(shelf: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "fixed.onnx"
    found = told("fix", str(shelf / "named.onnx"), "--track=depth", f"-o{out}", capsys=capsys)
    (model,) = found["models"]
    assert (model["model"], model["file"]) == ("named.onnx", str(out))
    assert model["changes"] == [{"rule": "DEP-1", "what": "input 'picture' is called 'image'"}]
    assert model["parity"].endswith("the same to the bit")
    assert (found["before"]["DEP-1"], found["after"]["DEP-1"]) == ("fail", "pass")
    assert found["left"] == []
    words = ("fix", str(shelf / "broken.onnx"), "--track=depth", f"-o{out}")
    found = told(*words, code=1, capsys=capsys)
    assert [(left["rule"], left["fails"]) for left in found["left"]] == [("DEP-7", True)]


def test_the_hub_s_users(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("starlette")
    state = f"--state={tmp_path}"
    found = told("hub", "add-user", "me@team.org", state, capsys=capsys)
    assert found["email"] == "me@team.org"
    assert len(found["token"]) > 20
    assert told("hub", "users", state, capsys=capsys) == ["me@team.org"]
    freed = told("hub", "prune", state, capsys=capsys)
    assert freed == {"things": 0, "files": 0, "bytes": 0}


def test_what_a_library_prints_is_beside_it(capsys: pytest.CaptureFixture[str]) -> None:
    """And what JSON has no words for is null, or a list."""

    @click.command()
    @in_json
    def chatty() -> tuple[str, int, object]:
        print("fetching ...")
        return "text", 1, {"ms": float("nan"), "in": Path("a"), "of": ("b", {"c"}), 3: True}

    text, code = chatty.main(["--json"], standalone_mode=False)
    assert (json.loads(text), code) == ({"ms": None, "in": "a", "of": ["b", ["c"]], "3": True}, 1)
    captured = capsys.readouterr()
    assert (captured.out, captured.err) == ("", "fetching ...\n")
    assert chatty.main([], standalone_mode=False) == ("text", 1)


def test_a_group_leaves_the_answer_to_its_verb() -> None:
    """Wherever of the two --json stands; alone it answers by itself."""

    @click.group(invoke_without_command=True)
    @in_json
    def group() -> tuple[str, int, object]:
        return "all", 0, {"all": True}

    @group.command()
    @in_json
    def verb() -> tuple[str, int, object]:
        return "one", 3, {"all": False}

    def answer(*words: str) -> object:
        return group.main([*words], standalone_mode=False)

    both = answer("--json", "verb"), answer("verb", "--json"), answer("--json", "verb", "--json")
    assert set(both) == {('{\n "all": false\n}', 3)}
    assert answer("verb") == ("one", 3)
    assert (answer("--json"), answer()) == (('{\n "all": true\n}', 0), ("all", 0))
