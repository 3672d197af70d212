"""Publishing is one tag: what the workflow does, and what the documents say until then."""

import re
import shutil
import subprocess
import tomllib
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parents[2]
VERSION = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["version"]
# YAML 1.1 reads the key `on` as true.
WORKFLOW = yaml.safe_load((ROOT / ".github/workflows/release.yml").read_text(encoding="utf-8"))
PAGES = [*(ROOT / "docs").rglob("*.md"), ROOT / "README.md"]


def test_a_tag_tests_builds_and_publishes() -> None:
    assert WORKFLOW[True] == {"push": {"tags": ["v*"]}}
    build, publish = WORKFLOW["jobs"]["build"], WORKFLOW["jobs"]["publish"]
    named = {step["name"]: step["run"] for step in build["steps"] if "run" in step}
    assert [*named] == ["Agree", "Test", "Build", "Try"]
    assert named["Agree"] == 'bash .ci/release "$GITHUB_REF_NAME"'
    assert "python -m build" in named["Build"]
    assert (WORKFLOW["permissions"], publish["needs"]) == ({"contents": "read"}, "build")
    assert publish["permissions"] == {"id-token": "write"}, "trusted publishing, and no more"
    assert publish["environment"] == "release"
    assert "secrets." not in str(WORKFLOW)
    kept, taken = build["steps"][-1]["with"], publish["steps"][0]["with"]
    assert (kept["name"], kept["path"]) == (taken["name"], taken["path"]) == ("dist", "dist")


@pytest.mark.parametrize(
    ("tag", "heading", "told"),
    [
        (f"v{VERSION}", f"## {VERSION} - 2026-12-01", ""),
        (VERSION, f"## {VERSION} - 2026-12-01", f"has the version {VERSION}; tag v{VERSION}"),
        ("v99", f"## {VERSION} - 2026-12-01", "the tag is 'v99', and pyproject.toml has"),
        (f"v{VERSION}", f"## {VERSION} - unreleased", "give the version its day"),
        (f"v{VERSION}", f"### {VERSION} - 2026-12-01", "give the version its day"),
        (f"v{VERSION}", f"## {VERSION}1 - 2026-12-01", "give the version its day"),
    ],
)
def test_tag_version_and_changelog_agree(tag: str, heading: str, told: str, tmp_path: Path) -> None:
    (tmp_path / ".ci").mkdir()
    shutil.copy(ROOT / ".ci" / "release", tmp_path / ".ci")
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    (tmp_path / "CHANGELOG.md").write_text(f"# Changelog\n\n{heading}\n\n### Added\n")
    command = ["bash", str(tmp_path / ".ci" / "release"), tag]
    done = subprocess.run(command, cwd="/", capture_output=True, text=True, check=False)
    assert (done.returncode, told in done.stderr) == (int(bool(told)), True)
    assert done.stderr.count("\n") == int(bool(told))


def test_the_documents_name_no_index() -> None:
    """What they tell to install is a checkout, a wheel or a repository, with an extra there is."""
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    known = {*extras["project"]["optional-dependencies"]}
    told = 0
    for page in PAGES:
        text = page.read_text(encoding="utf-8")
        for line in re.findall(r"pip install [^`\n]*", text):
            own = re.search(r"-e '?\.|dist/\*\.whl|lpcvc-conformance\S* @ git\+https", line)
            assert own or "lpcvc" not in line, f"{page.name}: {line}"
            for named in re.findall(r"\[([a-z,]+)\]", line) if own else []:
                assert {*named.split(",")} <= known, f"{page.name}: {line}"
                told += 1
    assert told > 8
    assert yaml.safe_load(gitlab_recipe())["lpcvc"]["script"][0].startswith("pip install 'lpcvc")


def gitlab_recipe() -> str:
    text = (ROOT / "docs" / "ci.md").read_text(encoding="utf-8")
    (recipe,) = re.findall(r"```yaml\n(lpcvc:\n.*?)```", text, re.DOTALL)
    return recipe
