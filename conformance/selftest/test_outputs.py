"""Files that verbs write: their folder is made, and what cannot be is told at once."""

from pathlib import Path

import pytest

from conformance.outputs import made_room
from reference.errors import SubmissionError


def test_the_folder_of_a_file_is_made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("here.json", "a/b/there.json", str(tmp_path / "c" / "there.json")):
        assert made_room(Path(name)) == Path(name)
        Path(name).write_text("{}")
        assert made_room(Path(name)).read_text() == "{}", "a file that is there stays"


@pytest.mark.parametrize(
    ("name", "told"),
    [
        (
            "file/x.json",
            "file/x.json cannot be written (what should be its folder is a file); name",
        ),
        ("file/a/x.json", "file/a/x.json cannot be written (what should be its folder is a file)"),
        ("folder", "folder is a folder; name a file"),
    ],
)
def test_where_no_file_can_be(
    name: str, told: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("file").touch()
    Path("folder").mkdir()
    with pytest.raises(SubmissionError) as caught:
        made_room(Path(name))
    assert str(caught.value).startswith(told)
