"""Everything public of the official client, called against the hub: what it gives is what was put
in, and nothing is left out but what is named here with its reason.
"""

import functools
import inspect
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("qai_hub", reason="needs the hub extra")

import qai_hub

from reference.aihub.local import local_hub
from reference.tests import npu_models as models

ME, OTHER = "me@team.org", "other@team.org"
DLC = "--target_runtime qnn_dlc"
# What is public and is not called, with the reason.
NOT_CALLED = {"Job.download_results": "abstract: each kind of job has its own, which is called"}

Called = set[str]


def public() -> dict[str, object]:
    """The public methods and properties of all public classes, as `Class.name`."""
    found: dict[str, object] = {}
    for name in qai_hub.__all__:
        own = getattr(qai_hub, name)
        if not inspect.isclass(own) or not own.__module__.startswith("qai_hub"):
            continue
        for kind in own.__mro__:
            if kind.__module__.startswith("qai_hub"):
                for member, value in vars(kind).items():
                    if not member.startswith("_") and isinstance(
                        value, property | staticmethod | type(public)
                    ):
                        found[f"{kind.__name__}.{member}"] = (kind, member, value)
    return found


@pytest.fixture
def called(monkeypatch: pytest.MonkeyPatch) -> Called:
    """The names of what is called; everything public notes that it is."""
    seen: Called = set()

    def noting(name: str, call):
        @functools.wraps(call)
        def noted(*arguments, **named):
            seen.add(name)
            return call(*arguments, **named)

        return noted

    for name, (kind, member, value) in public().items():  # type: ignore[misc]
        if isinstance(value, property):
            changed = property(noting(name, value.fget))
        elif isinstance(value, staticmethod):
            changed = staticmethod(noting(name, value.__func__))
        else:
            changed = noting(name, value)
        monkeypatch.setattr(kind, member, changed)
    return seen


def sharing(thing: object, email: str) -> None:
    """Shares it and stops to, in each way."""
    thing.modify_sharing(add_emails=[email])
    assert list(thing.get_sharing()) == [email]
    thing.modify_sharing(delete_emails=[email])
    assert list(thing.get_sharing()) == []
    thing.modify_sharing(add_emails=[email, "third@team.org"])
    thing.disable_sharing()
    assert list(thing.get_sharing()) == []


def test_everything_public(called: Called, tmp_path: Path) -> None:
    with local_hub(users=(ME, OTHER), runner="reference.tests.hub_runner:run", workers=2) as hub:
        client = hub.client
        use_client(client, hub.token)
        use_devices(client)
        use_assets(client, tmp_path)
        use_jobs(client, tmp_path)
    left = sorted(public().keys() - called)
    assert left == sorted(NOT_CALLED)


def test_the_functions_are_those_of_the_client() -> None:
    """Of the module: methods of one client, so that what holds of the methods holds of them."""
    from qai_hub import hub

    for name in hub.__all__:
        assert getattr(hub, name).__func__ is vars(qai_hub.Client)[name]


def use_client(client, token: str) -> None:
    assert client.config.api_token == token
    client.set_verbose(True)
    assert client.verbose
    client.set_verbose(False)
    assert not client.verbose
    with pytest.raises(qai_hub.UserError, match="has already been set"):
        client.set_session_token("another")
    assert qai_hub.Project.get_project_id("mine") == "mine"


def use_devices(client) -> None:
    (device,) = client.get_devices(name="Samsung Galaxy S24")
    assert device.attributes == [
        each for each in device.attributes if each in client.get_device_attributes()
    ]
    qairt = [framework for framework in client.get_frameworks() if framework.name == "QAIRT"]
    assert any("default" in framework.api_tags for framework in qairt)


def use_assets(client, folder: Path) -> None:
    path = models.save(models.net, folder)
    model = client.upload_model(str(path))
    assert model.wait()
    assert (model.producer, model.get_producer(), model.input_spec, model.output_spec) == (
        None,
        None,
        {},
        {},
    )
    assert model.metadata == {}
    assert model.url.endswith(f"/models/{model.model_id}/")
    assert Path(model.download(str(folder / "again"))).read_bytes() == path.read_bytes()
    assert client.get_model(model.model_id).name == path.name
    assert [each.model_id for each in client.get_models(limit=9)] == [model.model_id]
    sharing(model, OTHER)

    image = np.arange(3, dtype=np.float32).reshape(1, 3)
    data = client.upload_dataset({"image": [image, image + 1]}, name="pictures")
    assert data.get_expiration_status() == "Not Expired"
    assert not data.is_expired()
    again = client.get_dataset(data.dataset_id)
    np.testing.assert_array_equal(again.download()["image"][1], image + 1)
    assert [each.name for each in client.get_datasets()] == ["pictures"]
    sharing(data, OTHER)


def use_jobs(client, folder: Path) -> None:
    (device,) = client.get_devices(name="Samsung Galaxy S24")
    (model,) = client.get_models()
    (data,) = client.get_datasets()
    compiling = client.submit_compile_job(model, device, "mine", options=DLC)
    use_job(client, compiling, qai_hub.CompileJob, folder)
    target = compiling.get_target_model()
    assert target.wait()
    assert target.producer.job_id == target.get_producer().job_id == compiling.job_id
    assert qai_hub.ModelMetadataKey.QAIRT_SDK_VERSION in target.metadata
    assert list(target.output_spec.values())
    assert compiling.target_shapes == compiling.get_target_shapes() == {}
    assert Path(compiling.download_target_model(str(folder / "t"))).suffix == ".dlc"

    quantizing = client.submit_quantize_job(model, data)
    use_job(client, quantizing, qai_hub.QuantizeJob, folder)
    got = Path(quantizing.download_target_model(str(folder / "q")))
    assert got.read_bytes() == Path(model.download(str(folder / "m"))).read_bytes()
    with pytest.raises(TypeError):  # in memory, which no hub can help: the client needs a path
        quantizing.download_target_model()
    assert quantizing.get_target_model().model_type == qai_hub.SourceModelType.ONNX

    linking = client.submit_link_job([target], device)
    use_job(client, linking, qai_hub.LinkJob, folder)
    assert linking.get_target_model().name
    assert Path(linking.download_target_model(str(folder / "l"))).suffix == ".bin"

    running = client.submit_inference_job(target, device, data, "a run", profile=True)
    use_job(client, running, qai_hub.InferenceJob, folder)
    assert running.get_output_dataset().dataset_id
    assert list(running.download_output_data()) == ["image"]
    summary = running.download_profile()["execution_summary"]
    assert summary["estimated_inference_time"] == 2100
    said = running.get_status().message
    assert "not a measurement" in said, "printed with the figures of the profile"
    assert said in repr(running.download_results(str(folder / "again")))

    profiling = client.submit_profile_job(target, device)
    compiled, profiled = client.submit_compile_and_profile_jobs(model, device, compile_options=DLC)
    two, linked = client.submit_compile_and_link_jobs(
        [model, model], device, graph_names=["a", "b"]
    )
    for job in (profiling, compiled, profiled, *two, linked):
        assert job.wait().success
    listed = client.get_job_summaries(limit=50)
    assert [each.job_id for each in listed[:4]] == [
        job.job_id for job in (linked, two[1], two[0], profiled)
    ]
    assert all(each.status.success for each in listed)
    for kind in qai_hub.JobType:
        if kind != qai_hub.JobType.UNSPECIFIED:
            (newest,) = client.get_job_summaries(limit=1, type=kind)
            assert (newest.job_type, kind.display_name) == (kind, kind.name.lower())


def use_job(client, job, kind: type, folder: Path) -> None:
    """What every kind of job has."""
    assert isinstance(job, kind)
    status = job.wait()
    states = (status.success, status.failure, status.finished, status.running, status.pending)
    assert states == (True, False, True, False, False)
    assert (status.code, status.symbol) == ("SUCCESS", "✅")
    assert qai_hub.JobStatus.State.SUCCESS not in status.all_running_states()
    assert job.get_status().success
    job.set_name("renamed")
    again = client.get_job(job.job_id)
    assert (type(again), again.name, again.job_type) == (kind, "renamed", job.job_type)
    assert job.url.endswith(f"/jobs/{job.job_id}/")
    logs = job.download_job_logs(str(folder / job.job_id))
    assert [Path(path).name for path in logs if path.endswith("tool.log")]
    (log,) = job.get_available_artifacts()
    assert job.download_artifacts_for_type(str(folder / "logs"), log)
    assert "SUCCESS" in repr(job.download_results(str(folder / "results" / job.job_id)))
    sharing(job, OTHER)
