"""The gate from Python: what the quickstart notebook does, and what comes of it."""

import html
import json
import os
import re
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

import conformance
from conformance import api
from conformance.report.document import Other, Report, subjects_of
from conformance.report.terminal import Row
from conformance.selftest.page import read_page

torch = pytest.importorskip("torch")

ROOT = Path(__file__).parents[2]
NOTEBOOK = json.loads((ROOT / "docs" / "quickstart.ipynb").read_text(encoding="utf-8"))
Told = SimpleNamespace


@pytest.fixture(scope="module")
def told(tmp_path_factory: pytest.TempPathFactory) -> Told:
    """What the cells leave, run one after the other in one namespace and an empty folder."""
    folder = tmp_path_factory.mktemp("notebook")
    names: dict[str, object] = {}
    argv, modules = list(sys.argv), set(sys.modules)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        # A session around it, with options that would break one.
        patch.setenv("PYTEST_ADDOPTS", "--no-such-option")
        for cell in NOTEBOOK["cells"]:
            if cell["cell_type"] == "code":
                exec("".join(cell["source"]), names)
        assert Path.cwd() == folder
    assert sys.argv == argv
    assert list(folder.iterdir()) == []
    assert "conformance.contract.items" not in set(sys.modules) - modules, "another process ran it"
    return SimpleNamespace(**names)


def test_the_notebook_keeps_nothing_that_can_rot() -> None:
    code = [cell for cell in NOTEBOOK["cells"] if cell["cell_type"] == "code"]
    assert not any(cell["outputs"] or cell["execution_count"] for cell in code)
    assert NOTEBOOK["nbformat"] == 4


def test_a_module_that_fails(told: Told) -> None:
    result = told.result
    assert result.verdict == "failing"
    assert [row.rule for row in result.failures] == ["DEP-7"]
    row = result["DEP-7"]
    assert (row.status, row.level) == ("FAIL", "documented")
    assert row.expected == "values in [0, 1]"
    assert row in list(result)
    assert len(result) == len({row.rule for row in result}) > 20
    assert row.again == "conformance.gate(model, track='depth', rules=['DEP-7'])"
    assert told.model.training, "a copy was exported"
    with pytest.raises(KeyError, match="nothing came of 'DEP-77'; did you mean DEP-7"):
        result["DEP-77"]


def test_its_error_is_the_terminal_s_text(told: Told) -> None:
    with pytest.raises(conformance.GateError) as caught:
        told.result.raise_for_failures()
    lines = str(caught.value).splitlines()
    assert lines[:2] == ["depth-2025, Depth.onnx: 1 FAIL", ""]
    assert lines[2].startswith("DEP-7 (documented): Depth lies in [0, 1] on the host")
    assert lines[-1] == f"  again    {told.result['DEP-7'].again}"
    assert "  remedy   end with min-max normalisation, or clamp(0, 1)" in lines
    whole = repr(told.result)
    assert re.match(r"depth-2025, Depth.onnx: \d+ pass, 1 FAIL", whole)
    assert whole.endswith("\n".join(lines[2:]))


def test_it_shows_itself_as_the_report_s_page(told: Told, tmp_path: Path) -> None:
    frame = told.result._repr_html_()
    (document,) = re.findall(r'^<iframe [^>]*sandbox="allow-popups"[^>]* srcdoc="([^"]*)"', frame)
    page = html.unescape(document)
    (path,) = told.result.save(tmp_path / "out.html")
    assert path.read_text(encoding="utf-8") == page
    assert "/lpcvc-" not in page, "the folder that it was exported into is gone"
    assert told.result["DEP-7"].again in read_page(page).rules["rule-1-DEP-7"]
    assert "data:image/jpeg" in page
    told.result.save(tmp_path / "out.json")
    assert json.loads((tmp_path / "out.json").read_text())["verdict"] == "failing"


def test_mended_it_passes(told: Told) -> None:
    assert told.after.verdict == "passing"
    assert told.after.failures == ()
    assert told.after["DEP-7"].status == "pass"
    told.after.raise_for_failures()


@pytest.mark.parametrize(
    ("model", "track", "said"),
    [
        ("gone.onnx", "depth", "no such file: gone.onnx; check the path"),
        (3, "depth", "a int is no model; give a path or a torch.nn.Module"),
        (torch.nn.Identity(), None, 'nothing says for which track the module is; add track="'),
        (torch.nn.Identity(), "dept", "unknown track or edition 'dept'; did you mean depth?"),
        (torch.nn.Identity(), "retrieval", "retrieval-2026 takes 2 models; give a mapping with i"),
        ({"imag": torch.nn.Identity()}, "retrieval", "no part is called 'imag'; give a mapping"),
        (torch.nn.Bilinear(1, 1, 1), "depth", "forward(input1, input2) is not what the track"),
    ],
)
def test_mistakes(
    model: object, track: str, said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(conformance.SubmissionError, match=f"^{re.escape(said)}"):
        conformance.gate(model, track)


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The words that `lpcvc gate` would get; it answers with a fault of its own."""
    words: list[str] = []

    def run(given: list[str]) -> tuple[int, str]:
        words.extend(word for word in given if not word.startswith("--report="))
        return 3, "lpcvc: a fault of this program (ValueError: x); please report it with f.txt\n"

    monkeypatch.setattr(api, "_run", run)
    return words


def test_what_the_verb_is_asked(asked: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(api, "_export", lambda module, part, path: None)
    own = {"image": Path("a.onnx"), "text": torch.nn.Identity()}
    options = {"rules": ["RET-3"], "npu": True, "device": "XR2 Gen 2 (Proxy)"}
    with pytest.raises(conformance.SubmissionError, match="that is the tool's fault"):
        conformance.gate(own, "retrieval", timeout=9.5, as_evaluated=True, **options)
    *words, last = asked
    assert last.startswith("text=")
    assert Path(last).name == "Identity.onnx"
    assert words == [
        "--track=retrieval",
        "--rule=RET-3",
        "--device=XR2 Gen 2 (Proxy)",
        "--timeout=9.5",
        "--npu",
        "--as-evaluated",
        "--",
        "image=a.onnx",
    ]


def test_layers_are_those_of_parity(asked: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """So that the module is exported as PyTorch, the first side of the comparison."""
    monkeypatch.setattr(api, "_export", lambda module, part, path: None)
    with pytest.raises(conformance.SubmissionError, match="that is the tool's fault"):
        conformance.gate(torch.nn.Identity(), "depth", layers=True)
    *words, last = asked
    assert words == ["--track=depth", "--layers", "--"]
    assert Path(last).name == "Identity.pt"


def test_a_run_that_ended_early_does_not_pass() -> None:
    row = Row("depth-2025, a.onnx", "COM-1", "required", "pass", "one graph", "", "depth-2025")
    whole = Report("", "", "", "", subjects_of([row]), (), (), {})
    conformance.Result(whole).raise_for_failures()
    for change, said in (
        ({"ended": "interrupted"}, "The run ended early (interrupted): 1 rule checked."),
        ({"subjects": ()}, "Nothing was checked."),
        ({"others": (Other("test_ids", "fail", "1 differs"),)}, "test_ids: 1 differs"),
    ):
        own = conformance.Result(Report(**{**vars(whole), **change}))
        with pytest.raises(conformance.GateError, match=re.escape(said)):
            own.raise_for_failures()


def test_the_package_is_light() -> None:
    script = (
        "import sys; before = set(sys.modules); import conformance\n"
        "print(*set(sys.modules) - before); assert 'gate' in dir(conformance)\n"
    )
    done = subprocess.run(
        [sys.executable, "-S", "-c", script],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.split() == ["conformance"]
    with pytest.raises(AttributeError, match="no attribute 'gaet'"):
        conformance.gaet  # noqa: B018
