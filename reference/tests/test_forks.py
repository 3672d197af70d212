"""A child that begins as a fork is a process like any other, with nothing of the others."""

import os
import signal
import sys
from pathlib import Path

import pytest

from reference import forks
from reference.errors import SubmissionError
from reference.process import ChildProcess, Limits

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="forks are for Linux alone")


def child(folder: Path, ahead: str = "", **environment: str) -> ChildProcess:
    limits = Limits(60, 2**30)
    module = "reference.tests.odd_child"
    return ChildProcess(
        module, "it", folder, lambda seconds: None, limits, environment, ahead=ahead
    )


@pytest.fixture
def own(monkeypatch: pytest.MonkeyPatch):
    """Servers of this test alone."""
    servers: dict[object, forks._Server | None] = {}
    monkeypatch.setattr(forks, "_servers", servers)
    yield servers
    for server in filter(None, servers.values()):
        server.close()


def test_a_fork_has_what_a_process_of_its_own_has(
    own: dict[object, object], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("LPCVC_ODD", "parent's")
    with child(tmp_path, LPCVC_ODD="its own") as one, child(tmp_path) as two:
        first, second = one.ask("place"), two.ask("place")
    assert len(own) == 1
    assert first["parent"] == second["parent"] not in (os.getpid(), first["pid"])
    assert first["pid"] != second["pid"]
    for place in (first, second):
        assert place["session"] == place["group"] == place["pid"]
        assert place["folder"] == str(tmp_path)
        assert place["arguments"] == [str(2**30)]
        # stdin, stdout, stderr and the real stdout of the protocol: no file of the others.
        assert place["files"] == [0, 1, 2, 3]
        assert place["handler"] == signal.SIG_DFL
        assert set(place["environment"]) - set(os.environ) <= {"OMP_WAIT_POLICY", "LPCVC_ODD"}
    assert first["environment"]["LPCVC_ODD"] == "its own"
    assert second["environment"]["LPCVC_ODD"] == "parent's"
    assert first["random"] != second["random"]


def test_a_fork_that_crashes_takes_no_other_along(
    own: dict[object, object], tmp_path: Path
) -> None:
    with child(tmp_path) as left:
        for number in (signal.SIGSEGV, signal.SIGABRT):
            with child(tmp_path) as lost, pytest.raises(SubmissionError) as caught:
                lost.ask("end", number=number)
            assert f"it crashed its runtime ({number.name})" in caught.value.problem
        with child(tmp_path) as lost, pytest.raises(SubmissionError) as caught:
            lost.ask("end", number=signal.SIGKILL)
        assert "the system killed it" in caught.value.problem
        assert left.ask("answer", what="here") == {"what": "here"}
    assert len(own) == 1


def test_without_a_server_a_child_is_a_fresh_interpreter(
    own: dict[object, object], tmp_path: Path
) -> None:
    """A model may kill what its process came from; whoever is next is not hurt."""
    with child(tmp_path) as one:
        server = one.ask("place")["parent"]
        os.kill(server, signal.SIGKILL)
        with pytest.raises(SubmissionError, match="the system killed it"):
            one.ask("end", number=signal.SIGKILL)
    with child(tmp_path) as two:
        assert two.ask("place")["parent"] == os.getpid()


def test_what_an_interpreter_reads_as_it_starts_has_a_server_of_its_own(
    own: dict[object, object], tmp_path: Path
) -> None:
    (tmp_path / "brought.py").write_text("")
    path = os.pathsep.join(filter(None, (os.environ.get("PYTHONPATH"), str(tmp_path))))
    with child(tmp_path) as one, child(tmp_path, PYTHONPATH=path) as two:
        assert not one.ask("finds", module="brought")["found"]
        assert two.ask("finds", module="brought")["found"]
    assert len(own) == 2


def test_what_is_imported_ahead_is_in_no_other_child(
    own: dict[object, object], tmp_path: Path
) -> None:
    with (
        child(tmp_path, "sqlite3") as one,
        child(tmp_path, "sqlite3") as two,
        child(tmp_path) as it,
    ):
        places = [each.ask("place") for each in (one, two, it)]
    assert ["sqlite3" in place["modules"] for place in places] == [True, True, False]
    assert places[0]["parent"] == places[1]["parent"] != places[2]["parent"]
    assert len(own) == 2


def test_what_cannot_be_imported_ahead_is_left_to_the_child(
    own: dict[object, object], tmp_path: Path
) -> None:
    with child(tmp_path, "no_such_module") as one:
        assert one.ask("place")["parent"] == os.getpid()
