"""The hub through the official client, unmodified; what does the jobs is a stand-in."""

import threading
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays

qai_hub = pytest.importorskip("qai_hub", reason="needs the hub extra")

from qai_hub.client import UserError  # noqa: E402

from reference.aihub.listed import FAULT  # noqa: E402
from reference.aihub.local import LocalHub, local_hub  # noqa: E402
from reference.aihub.records import JobRecord  # noqa: E402
from reference.aihub.store import Store  # noqa: E402
from reference.errors import SubmissionError  # noqa: E402
from reference.process import Limits  # noqa: E402
from reference.tests.hub_runner import SPECS  # noqa: E402

ME, OTHER, ORGANISER = "me@team.org", "other@team.org", "organiser@lpcv.org"
RUNNER = "reference.tests.hub_runner:run"
S24 = qai_hub.Device("Samsung Galaxy S24")
DLC = "--target_runtime qnn_dlc"
QNN = "framework:qnn"
MB = 2**20


@pytest.fixture(scope="module")
def hub() -> Iterator[LocalHub]:
    with local_hub(users=(ME, OTHER, ORGANISER), runner=RUNNER, workers=4, max_upload=MB) as own:
        yield own


@pytest.fixture(scope="module")
def client(hub: LocalHub) -> object:
    return hub.client


def model(folder: Path, text: str = "", name: str = "model.onnx") -> str:
    path = folder / name
    path.write_text(text or "nothing special")
    return str(path)


def state(client, job) -> qai_hub.JobStatus:
    """As it is now: `get_status` is answered when a job is finished, or after a while."""
    return next(s.status for s in client.get_job_summaries(limit=50) if s.job_id == job.job_id)


def image() -> np.ndarray:
    return np.arange(192, dtype=np.float32).reshape(1, 3, 8, 8)


def test_the_published_flow(client, hub: LocalHub, tmp_path: Path) -> None:
    """Compile, share, upload data, infer, profile, download: what the organisers' pages show."""
    job = client.submit_compile_job(
        model(tmp_path), S24, "my model", {"image": SPECS[0].shape}, DLC
    )
    target = job.get_target_model()
    assert target.model_type == qai_hub.SourceModelType.QNN_DLC
    job.modify_sharing(add_emails=[ORGANISER])
    assert list(job.get_sharing()) == [ORGANISER]
    assert job.wait().success

    organiser = hub.client_of(ORGANISER)
    theirs = organiser.get_job(job.job_id)
    assert theirs.name == "my model"
    assert theirs.get_target_shapes() == {"image": ((1, 3, 8, 8), "float32")}
    data = organiser.upload_dataset({"image": [image(), image() + 1]})
    run = organiser.submit_inference_job(theirs.get_target_model(), S24, data, profile=False)
    outputs = run.download_output_data()
    np.testing.assert_array_equal(outputs["image"][1], image() + 1)

    profiling = organiser.submit_profile_job(
        theirs.get_target_model(), S24, options="--max_profiler_iterations 20"
    )
    profile = profiling.download_profile()
    assert profile["execution_summary"]["estimated_inference_time"] == 2100
    assert profile["execution_summary"]["all_inference_times"] == [2100]
    assert profile["execution_summary"]["inference_memory_peak_range"] == (0, 0)
    assert [(x["name"], x["compute_unit"]) for x in profile["execution_detail"]] == [
        ("conv", "NPU"),
        ("resize", "CPU"),
    ]
    got = job.download_target_model(str(tmp_path / "got"))
    assert Path(got).name == "got.dlc"
    assert Path(got).read_text() == "nothing special"


def test_a_target_is_there_before_it_is_made(client, tmp_path: Path) -> None:
    job = client.submit_compile_job(model(tmp_path, "compile sleep 1"), S24, options=DLC)
    assert not state(client, job).finished
    target = job.get_target_model()
    run = client.submit_profile_job(target, S24)
    assert run.wait().success
    assert job.get_status().success
    assert client.get_model(target.model_id).input_spec == {}


def test_a_failure_goes_on_to_what_waits_for_it(client, tmp_path: Path) -> None:
    given = model(tmp_path, "compile sleep 0.3\ncompile fail no such operator: Foo")
    job = client.submit_compile_job(given, S24, options=DLC)
    run = client.submit_profile_job(job.get_target_model(), S24)
    status = run.wait()
    assert status.failure
    assert status.message.endswith(f"job {job.job_id} failed: no such operator: Foo")
    assert job.wait().message == "no such operator: Foo"
    with pytest.raises(UserError, match="has no file: it was not uploaded, or its job failed"):
        job.get_target_model().download(str(tmp_path / "none"))
    assert run.download_profile() == {}


@pytest.mark.parametrize(
    ("action", "says"),
    [
        ("crash", f"{FAULT}: the worker of this job ended with exit code -6 (SIGABRT)"),
        ("raise boom", f"{FAULT}: RuntimeError: boom"),
        ("tool QAIRT crashed", f"{FAULT}: QAIRT crashed"),
    ],
)
def test_a_job_that_takes_its_process_with_it(
    client, action: str, says: str, tmp_path: Path
) -> None:
    status = client.submit_compile_job(
        model(tmp_path, f"compile {action}"), S24, options=DLC
    ).wait()
    assert status.failure
    assert status.message == says
    assert client.submit_compile_job(model(tmp_path), S24, options=DLC).wait().success


def test_quantize_and_link(client, tmp_path: Path) -> None:
    data = client.upload_dataset({"image": [image()]})
    job = client.submit_quantize_job(model(tmp_path), data, name="int8")
    assert job.wait().success
    assert job.get_target_model().model_type == qai_hub.SourceModelType.ONNX
    dlcs = [
        client.submit_compile_job(model(tmp_path), S24, options=DLC).get_target_model()
        for _ in range(2)
    ]
    linked = client.submit_link_job(dlcs, S24, name="two graphs")
    assert linked.wait().success
    kind = client.get_model(linked.get_target_model().model_id).model_type
    assert kind == qai_hub.SourceModelType.QNN_CONTEXT_BINARY


def test_several_devices_at_once(client, tmp_path: Path) -> None:
    devices = [S24, qai_hub.Device("Samsung Galaxy S23")]
    job = client.submit_compile_job(model(tmp_path), devices, options=DLC)
    assert job.wait().success
    runs = client.submit_profile_job(job.get_target_model(), devices)
    assert [run.wait().success for run in runs] == [True, True]
    assert {run.device.name for run in runs} == {device.name for device in devices}


def test_devices_are_found_as_the_client_asks(client) -> None:
    assert [d.name for d in client.get_devices(name="Samsung Galaxy S24")] == [S24.name]
    found = client.get_devices(attributes=["os:windows", "hexagon:v73"])
    assert {d.name for d in found} == {"Snapdragon X Elite CRD", "Snapdragon X Elite"}
    assert client.get_devices(os="[11,12)", attributes="hexagon:v73") == found
    assert {d.os for d in client.get_devices(os="[15,)", attributes=QNN)} == {"15", "16"}
    assert {d.os for d in client.get_devices(os="[,12)", attributes=QNN)} == {"1.6", "1.7", "11"}
    (family,) = client.get_devices(name="Samsung Galaxy S24 (Family)")
    assert (family.name, family.os) == (S24.name, "14")
    assert {"format:phone", "chipset:qualcomm-snapdragon-8gen3"} < set(family.attributes)
    every = client.get_devices()
    assert all(a.count(":") == 1 for device in every for a in device.attributes)
    assert all("emulated:true" in device.attributes for device in every)
    frameworks = client.get_frameworks()
    assert {f.name for f in frameworks} == {"QAIRT"}
    assert [f.api_version for f in frameworks if "default" in f.api_tags] == ["2.51"]
    assert "2.50" in {f.api_version for f in frameworks}, "which qai-hub-models 0.65 looks up"
    assert {f.full_version for f in frameworks} == {"2.51.0"}, "there is no other"


def test_what_belongs_to_others_is_not_there(client, hub: LocalHub, tmp_path: Path) -> None:
    job = client.submit_compile_job(model(tmp_path), S24, options=DLC)
    data = client.upload_dataset({"image": [image()]})
    other = hub.client_of(OTHER)
    for ask in (
        lambda: other.get_job(job.job_id),
        lambda: other.get_model(job.model.model_id),
        lambda: other.get_model(job.get_target_model().model_id),
        lambda: other.get_dataset(data.dataset_id),
    ):
        with pytest.raises(UserError, match="could not be found"):
            ask()
    assert all(s.job_id != job.job_id for s in other.get_job_summaries(limit=50))
    assert other.get_models(limit=50) == other.get_datasets(limit=50) == []
    job.modify_sharing(add_emails=[OTHER])
    seen = other.get_job(job.job_id)
    assert seen.get_target_model().model_id == job.get_target_model().model_id
    with pytest.raises(UserError, match="belongs to somebody else"):
        seen.modify_sharing(add_emails=["x@y.z"])
    with pytest.raises(UserError, match="belongs to somebody else"):
        seen.set_name("mine")
    job.disable_sharing()
    with pytest.raises(UserError, match="could not be found"):
        other.get_job(job.job_id)


def test_names_and_the_newest_first(client, tmp_path: Path) -> None:
    jobs = [client.submit_compile_job(model(tmp_path), S24, f"job {n}", options=DLC) for n in "ab"]
    jobs[0].set_name("another")
    assert client.get_job(jobs[0].job_id).name == "another"
    newest = client.get_job_summaries(limit=2)
    assert [s.job_id for s in newest] == [jobs[1].job_id, jobs[0].job_id]
    assert client.get_job_summaries(limit=1, offset=1)[0].job_id == jobs[0].job_id
    assert all(job.wait().success for job in jobs)
    assert client.get_job(jobs[0].job_id).name == "another"


_DTYPES = ["float16", "float32", "int8", "int16", "int32", "int64", "uint8", "uint16", "bool"]


@settings(max_examples=15, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    st.dictionaries(
        st.text("abcé_/", min_size=1, max_size=5),
        st.sampled_from(_DTYPES).flatmap(
            lambda dtype: arrays(dtype, array_shapes(max_dims=3, max_side=4))
        ),
        min_size=1,
        max_size=12,
    )
)
def test_data_sets_come_back_as_they_were(client, tensors: dict[str, np.ndarray]) -> None:
    sent = client.upload_dataset({name: [array] for name, array in tensors.items()})
    got = client.get_dataset(sent.dataset_id).download()
    assert list(got) == list(tensors)
    for name, array in tensors.items():
        (back,) = got[name]
        assert back.dtype == array.dtype
        np.testing.assert_array_equal(back, array)


def test_a_token_that_is_not_known(hub: LocalHub) -> None:
    with pytest.raises(UserError, match="Failed to authenticate"):
        hub.client_of(ME, token="nonsense").get_devices()


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ("--target_runtime qnn_dcl", "qnn_dlc"),
        ("--no_such_option", "--no_such_option"),
    ],
)
def test_options_that_are_not_known(client, options: str, says: str, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=says):
        client.submit_compile_job(model(tmp_path), S24, options=options)


def test_uploads_that_are_too_large(client, tmp_path: Path) -> None:
    large = tmp_path / "large.onnx"
    large.write_bytes(bytes(MB + 1))
    with pytest.raises(UserError, match=r"1.0 MB is more than this hub takes \(1.0 MB\)"):
        client.upload_model(str(large))
    noise = np.random.default_rng(0).random((1, 3, 512, 512)).astype(np.float32)
    with pytest.raises(UserError, match="more than this hub takes"):
        client.upload_dataset({"image": [noise]})


def test_uploads_that_are_no_models(client, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"model.pt is no archive or was cut short"):
        client.upload_model(model(tmp_path, name="model.pt"))


def test_a_device_that_there_is_not(client, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="is not available"):
        client.submit_compile_job(model(tmp_path), qai_hub.Device("Galaxy S99"), options=DLC)


def test_a_finished_job_is_told_at_once(client, tmp_path: Path) -> None:
    """Within one request, not at the client's next look ten seconds later: else this times out."""
    job = client.submit_compile_job(model(tmp_path, "compile sleep 0.5"), S24, options=DLC)
    told: list[bool] = []
    thread = threading.Thread(target=lambda: told.append(job.get_status().success), daemon=True)
    thread.start()
    thread.join(60)
    assert told == [True]


def test_logs(client, tmp_path: Path) -> None:
    job = client.submit_compile_job(model(tmp_path), S24, options=DLC)
    job.wait()
    tool, log = job.download_job_logs(str(tmp_path))
    assert Path(tool).read_text() == f"compile {DLC}\n"
    assert f"options: {DLC}\n" in Path(log).read_text()


def test_each_step_of_a_job_has_the_limits_of_the_hub(tmp_path: Path) -> None:
    with local_hub(runner=RUNNER, limits=Limits(7, 2**31)) as own:
        job = own.client.submit_compile_job(model(tmp_path, "compile limits"), S24, options=DLC)
        assert "7 s and 2147483648 bytes" in job.wait().message


def test_everything_is_kept(tmp_path: Path) -> None:
    """A hub that is killed while one job runs and one waits: both end, and nothing is lost."""
    folder = tmp_path / "state"
    with local_hub(folder, users=(ME,), runner=RUNNER) as first:
        client = first.client
        done = client.submit_compile_job(model(tmp_path), S24, options=DLC)
        assert done.wait().success
        data = client.upload_dataset({"image": [image()]})
        running = client.submit_compile_job(model(tmp_path, "compile sleep 1.5"), S24, options=DLC)
        waiting = client.submit_compile_job(model(tmp_path), S24, options=DLC)
        while state(client, running).pending:
            time.sleep(0.05)
        first.process.kill()
        first.process.wait()
        tokens = first.tokens
    with local_hub(folder, runner=RUNNER, tokens=tokens) as second:
        client = second.client
        assert client.get_job(done.job_id).get_status().success
        assert client.get_job(running.job_id).wait().success
        assert client.get_job(waiting.job_id).wait().success
        np.testing.assert_array_equal(
            client.get_dataset(data.dataset_id).download()["image"][0], image()
        )
        got = client.get_job(done.job_id).download_target_model(str(tmp_path / "again"))
        assert Path(got).read_text() == "nothing special"


def test_a_job_that_ends_the_hub_each_time_is_given_up(tmp_path: Path) -> None:
    folder = tmp_path / "state"
    tokens = None
    for start in range(2):
        with local_hub(folder, users=(ME,), runner=RUNNER, tokens=tokens) as own:
            tokens = own.tokens
            if start == 0:
                id = own.client.submit_compile_job(
                    model(tmp_path, "compile sleep 600"), S24, options=DLC
                ).job_id
            store = Store(folder / "hub.sqlite")
            while store.get(JobRecord, id).attempt <= start:  # until this hub, too, has begun it
                time.sleep(0.05)
            own.process.kill()
            own.process.wait()
    with local_hub(folder, runner=RUNNER, tokens=tokens) as own:
        status = own.client.get_job(id).wait()
        assert status.message == "the hub was killed 2 times while this job ran"


def test_two_hubs_do_not_share_a_folder(tmp_path: Path) -> None:
    second = local_hub(tmp_path, users=(ME,), runner=RUNNER)
    with (
        local_hub(tmp_path, users=(ME,), runner=RUNNER),
        pytest.raises(SubmissionError, match="another hub runs on"),
    ):
        second.__enter__()
