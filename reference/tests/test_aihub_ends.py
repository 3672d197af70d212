"""How jobs end: with a log that says so, and not by a hub that is stopped in good order."""

import faulthandler
import os
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

qai_hub = pytest.importorskip("qai_hub", reason="needs the hub extra")

from reference.aihub.execute import Place, check_readable, end_job  # noqa: E402
from reference.aihub.joblog import scrubbed  # noqa: E402
from reference.aihub.listed import FAULT  # noqa: E402
from reference.aihub.local import LocalHub, local_hub  # noqa: E402
from reference.aihub.records import Asked, JobRecord, JobState  # noqa: E402
from reference.aihub.store import Store  # noqa: E402
from reference.aihub.tasks import TaskError  # noqa: E402
from reference.process import ChildProcess, Limits, transcript  # noqa: E402

ME = "me@team.org"
RUNNER = "reference.tests.hub_runner:run"
S24 = qai_hub.Device("Samsung Galaxy S24")
DLC = "--target_runtime qnn_dlc"


@pytest.fixture(scope="module")
def state(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("hub")


@pytest.fixture(scope="module")
def hub(state: Path) -> Iterator[LocalHub]:
    with local_hub(state, users=(ME,), runner=RUNNER, workers=2, deadline=20) as own:
        yield own


def compiling(hub: LocalHub, folder: Path, text: str):
    path = folder / "model.onnx"
    path.write_text(text)
    return hub.client.submit_compile_job(str(path), S24, options=DLC)


def log_of(job, folder: Path) -> str:
    job.wait()
    logs = [Path(log) for log in job.download_job_logs(str(folder))]
    (own,) = [log for log in logs if log.name.endswith("job.log")]
    return own.read_text()


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("nothing special", "done after"),
        ("compile fail no such operator: Foo", "no such operator: Foo"),
        ("compile raise boom", "raise RuntimeError(argument)\nRuntimeError: boom\n"),
        ("compile crash", "Fatal Python error: Aborted"),
        ("compile print hello from the compiler", "hello from the compiler\n"),
    ],
)
def test_every_compile_job_has_a_log(hub: LocalHub, text: str, says: str, tmp_path: Path) -> None:
    job = compiling(hub, tmp_path, text)
    log = log_of(job, tmp_path)
    assert says in log
    assert f"compile job {job.job_id}, attempt 1" in log
    assert f"options: {DLC}\n" in log
    last = log.splitlines()[-1]
    assert (job.wait().message or "done after") in last


def test_every_other_job_has_one_too(hub: LocalHub, tmp_path: Path) -> None:
    job = compiling(hub, tmp_path, "nothing special")
    target, client = job.get_target_model(), hub.client
    data = client.upload_dataset({"image": [np.zeros((1, 3), np.float32)]})
    jobs = {
        "profile": client.submit_profile_job(target, S24),
        "inference": client.submit_inference_job(target, S24, data, profile=False),
        "link": client.submit_link_job([target], S24),
        "quantize": client.submit_quantize_job(job.model, data),
    }
    broken = compiling(hub, tmp_path, "compile fail wrong")
    waiting = client.submit_profile_job(broken.get_target_model(), S24)
    for kind, each in jobs.items():
        log = log_of(each, tmp_path)
        assert f"{kind} job {each.job_id}" in log
        assert "done after" in log
    assert "was not made: job" in log_of(waiting, tmp_path), "it never ran"


def test_no_log_says_where_things_lie(hub: LocalHub, state: Path, tmp_path: Path) -> None:
    here = [str(state), str(Path(sys.prefix)), str(Path(__file__).parents[2]), str(Path.home())]
    for text in ("compile where", "compile raise " + " ".join(here), "compile fail " + here[0]):
        job = compiling(hub, tmp_path, text)
        log = log_of(job, tmp_path) + str(job.wait().message)
        assert not any(f"{place}/" in log or log.endswith(place) for place in here), log
        assert "JOBS/" in log or "HUB" in log or "WORK" in log


_NODES = st.lists(st.text("abconv_1", min_size=1, max_size=8), min_size=1, max_size=5).map(
    lambda parts: "/" + "/".join(parts)
)


@given(_NODES, st.sampled_from(["", "/", "/a.onnx", "/deep/er/b"]))
def test_names_of_nodes_stay(node: str, rest: str) -> None:
    state = Path(tempfile.gettempdir()) / "some-state"
    text = f"node {node!r} of '{state}{rest}', {state}/scratch/j1{rest} and {state}-2{rest}"
    clean = scrubbed(text, state)
    assert f"node {node!r} of 'HUB{rest}', JOBS/j1{rest} and " in clean
    assert str(state) + "/" not in clean


def test_what_a_child_prints_goes_into_the_log(tmp_path: Path) -> None:
    name = "reference.tests.odd_child"
    with (tmp_path / "log").open("w+") as file:
        with transcript(file), ChildProcess(name, "it", tmp_path, print, Limits()) as child:
            child.ask("load")
            printed = child.printed()
        file.seek(0)
        assert file.read() == f"[it]\n{printed}\n"


class Odd:
    """A data set that does to its reader what damaged ones do to HDF5's."""

    do = staticmethod(os.abort)

    def __init__(self, path: Path) -> None:
        faulthandler.disable()  # in a fork, whose trace would be taken for one of the run
        self.do()

    def __enter__(self) -> "Odd":
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def __len__(self) -> int:
        return 0


@pytest.mark.parametrize("do", [os.abort, lambda: time.sleep(600)], ids=["crash", "no end"])
def test_a_data_set_that_crashes_its_reader(
    do: Callable[[], None], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Is the data set's fault, and the worker goes on to say so."""
    monkeypatch.setattr("reference.aihub.execute.DataSet", Odd)
    monkeypatch.setattr(Odd, "do", staticmethod(do))
    with pytest.raises(TaskError, match="the data set is damaged: HDF5 crashes on it"):
        check_readable(tmp_path / "x.h5", 1.0)
    monkeypatch.setattr(Odd, "do", staticmethod(lambda: None))
    check_readable(tmp_path / "x.h5", 60.0)


def running(state: Path, id: str, attempt: int = 1) -> None:
    """Until that attempt has begun."""
    store = Store(state / "hub.sqlite")
    while store.get(JobRecord, id).attempt < attempt or not (state / "scratch" / id).exists():
        time.sleep(0.02)


@pytest.mark.parametrize("stop", ["terminate", "twice", "the whole group"])
def test_a_stop_in_good_order_is_no_attempt(stop: str, tmp_path: Path) -> None:
    """However often: what counts is how often it crashed."""
    state, tokens = tmp_path / "state", None
    for turn in range(2):
        with local_hub(state, users=(ME,), runner=RUNNER, tokens=tokens) as own:
            tokens = own.tokens
            if turn == 0:
                id = compiling(own, tmp_path, "compile sleep 600").job_id
            running(state, id)
            match stop:
                case "terminate":
                    own.process.send_signal(signal.SIGTERM)
                case "twice":  # by somebody who has no patience
                    own.process.send_signal(signal.SIGINT)
                    own.process.send_signal(signal.SIGINT)
                case "the whole group":  # as systemd does: the worker, too, ahead of the hub
                    for pid in (*_below(own.process.pid), own.process.pid):
                        os.kill(pid, signal.SIGTERM)
            assert own.process.wait(30) == 0
        record = Store(state / "hub.sqlite").get(JobRecord, id)
        assert (record.state, record.attempt, record.started) == (JobState.CREATED, 0, None)


def _below(pid: int) -> list[int]:
    """The processes that a process has started, and those that they have."""
    found = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = stat.read_text().rpartition(")")[2].split()
        except OSError:
            continue
        if int(fields[1]) == pid:
            found += [*_below(int(stat.parent.name)), int(stat.parent.name)]
    return found


def test_a_worker_that_is_terminated_alone_has_crashed(
    hub: LocalHub, state: Path, tmp_path: Path
) -> None:
    job = compiling(hub, tmp_path, "compile terminate")
    said = f"{FAULT}: the worker of this job ended with exit code -15 (SIGTERM)"
    assert job.wait().message == said


def test_a_job_that_ended_is_not_put_back(tmp_path: Path) -> None:
    place = Place(tmp_path)
    store = place.store()
    asked = Asked("compile", "", ())
    begun = JobRecord("j1", ME, asked, JobState.OPTIMIZING_MODEL, 1.0, "", attempt=1, started=1.0)
    store.insert(begun)
    place.scratch.mkdir()
    end_job(place, store, place.blobs(), begun, None, "why")
    store.put_back(begun)
    ended = store.get(JobRecord, "j1")
    assert (ended.state, ended.failure, ended.attempt) == (JobState.FAILED, "why", 1)
    assert place.blobs().path(ended.made.logs["job.log"]).read_text().endswith(": why\n")
    store.insert(replace(begun, id="j2", attempt=2))
    store.put_back(replace(begun, id="j2"))
    assert store.get(JobRecord, "j2").attempt == 2, "another attempt than that which was stopped"
