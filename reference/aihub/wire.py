"""Records as the messages of the client's protocol, `qai_hub.public_api_pb2`."""

import re
from collections.abc import Iterable
from typing import Any

from qai_hub import public_api_pb2

from reference.aihub.listed import FAULT, ListedDevice, matching
from reference.aihub.records import Asked, DatasetRecord, JobRecord, JobState, ModelRecord
from reference.aihub.store import Store
from reference.aihub.tasks import ModelKind, Profile, TaskError, TensorSpec

pb: Any = public_api_pb2
VERSION = "local"
DEVICE_LOG, HUB_LOG = 1, 5
TOOLS = {3: "QAIRT"}  # by their `ModelMetadataKey`
_DTYPES = {
    "float32": 1,
    "int32": 2,
    "int64": 3,
    "int8": 4,
    "uint8": 5,
    "int16": 6,
    "uint16": 7,
    "float16": 8,
    "bool": 9,
}
_NAMES = {number: name for name, number in _DTYPES.items()}
_QUANTISED = {1: "int8", 3: "int16", 5: "int4"}
_QUANTISED_NUMBERS = {name: number for number, name in _QUANTISED.items()}
_NOTHING_ELSE = "load time and memory are not estimated, and shown as 0"
# From here on profile jobs are inference jobs with a flag.
_ONE_KIND = (0, 56)


def client_version(text: str) -> tuple[int, ...]:
    """`0.56.0` as (0, 56); the old ones (0.50 does) send none, which is () and less than any."""
    parts = re.match(r"([0-9]{1,4})\.([0-9]{1,4})(?:\.|$)", text)
    return tuple(map(int, parts.groups())) if parts else ()


def listed_kinds(type: str, version: tuple[int, ...]) -> tuple[str, ...]:
    """The kinds of job that a client of `version` calls a `type`; none, which is all, for no type.

    From 0.56 on there are no profile jobs: they are inference jobs, too.
    """
    if type in ("profile", "inference"):
        return ("profile", "inference") if version >= _ONE_KIND else (type,)
    return (type,) if type in ("compile", "quantize", "link") else ()


def device_message(device: ListedDevice) -> Any:
    """One `Device`."""
    return pb.Device(
        name=device.name,
        os=device.os,
        attributes=device.attributes,
        soc_description=device.device.soc,
    )


def specs_message(specs: Iterable[TensorSpec]) -> Any:
    """A `NamedTensorTypeList`."""
    message = pb.NamedTensorTypeList()
    for spec in specs:
        added = message.types.add(name=spec.name)
        added.tensor_type.shape.extend(spec.shape)
        added.tensor_type.dtype = _DTYPES[spec.dtype]
        if spec.graph:
            added.graph_name = spec.graph
        if spec.scale is not None and spec.zero_point is not None:
            added.tensor_type.scale = spec.scale
            added.tensor_type.zero_point = spec.zero_point
    return message


def read_specs(message: Any) -> tuple[TensorSpec, ...]:
    """The specs that a client sends. Raises TaskError for a type that there is not."""
    if any(t.tensor_type.dtype not in _NAMES for t in message.types):
        raise TaskError("an input has a type that is not known")
    return tuple(
        TensorSpec(t.name, tuple(t.tensor_type.shape), _NAMES[t.tensor_type.dtype])
        for t in message.types
    )


def model_message(model: ModelRecord) -> Any:
    """One `Model`."""
    message = pb.Model(
        model_id=model.id,
        name=model.name,
        model_type=int(model.kind),
        file_upload_complete=bool(model.blob),
        is_directory=model.is_directory,
        **_project(model.project),
    )
    message.owner.email = model.owner
    if model.producer:
        message.producer_id = model.producer
    _set(message, created=model.created)
    if model.input_spec or model.output_spec:
        message.input_spec.CopyFrom(specs_message(model.input_spec))
        message.output_spec.CopyFrom(specs_message(model.output_spec))
    for key, value in model.metadata.items():
        message.metadata.entries[key] = value
    return message


def dataset_message(dataset: DatasetRecord) -> Any:
    """One `Dataset`."""
    message = pb.Dataset(
        dataset_id=dataset.id,
        name=dataset.name,
        file_upload_complete=bool(dataset.blob),
        permanent=dataset.expires is None,
        **_project(dataset.project),
    )
    message.owner.email = dataset.owner
    _set(message, created=dataset.created, expires=dataset.expires)
    return message


def read_job(message: Any) -> Asked:
    """What a client asks for. Raises TaskError for what cannot be asked."""
    kind = message.WhichOneof("job")
    match kind:
        case "compile_job":
            own = message.compile_job
            return Asked(
                "compile",
                own.name,
                (own.model.model_id,),
                tuple(device.name for device in own.devices.devices) or (own.device.name,),
                own.options.strip(),
                own.calibration_dataset.dataset_id,
                read_specs(own.tensor_type_list),
            )
        case "quantize_job":
            own = message.quantize_job
            if own.weights_dtype not in _QUANTISED or own.activations_dtype not in _QUANTISED:
                raise TaskError("weights and activations are int4, int8 or int16")
            return Asked(
                "quantize",
                own.name,
                (own.model.model_id,),
                options=own.options.strip(),
                dataset=own.calibration_dataset.dataset_id,
                weights=_QUANTISED[own.weights_dtype],
                activations=_QUANTISED[own.activations_dtype],
            )
        case "link_job":
            own = message.link_job
            models = tuple(model.model_id for model in own.models.models)
            return Asked("link", own.name, models, (own.device.name,), own.options.strip())
        case "inference_job" | "profile_job":
            own = getattr(message, str(kind))
            return Asked(
                "inference",
                own.name,
                (own.model.model_id,),
                (own.device.name,),
                own.options.strip(),
                own.dataset.dataset_id,
                profile=kind == "profile_job" or own.is_profiling_on,
            )
    raise TaskError("the job is of no kind that this hub knows")


def job_message(store: Store, job: JobRecord, version: tuple[int, ...]) -> Any:
    """One `Job`, as a client of `version` takes it."""
    message = pb.Job(hub_version=VERSION)
    for notice in job.made.notices:
        message.notices.add(message=notice)
    if job.made.logs:
        message.available_artifacts.append(HUB_LOG)
    asked = job.asked
    models = [model_message(store.get(ModelRecord, id)) for id in asked.models]
    common = {
        "name": job.name,
        "options": asked.options,
        "failure_reason": job.failure,
        "job_state": int(job.state),
        **_project(asked.project),
    }
    message.failure_type = _failure_type(job)
    target = model_message(store.get(ModelRecord, job.target)) if job.target else None
    match asked.kind:
        case "compile":
            own = message.compile_job
            own.MergeFrom(pb.CompileJob(compile_job_id=job.id, model=models[0], **common))
            devices = [_device(name) for name in asked.devices]
            own.device.CopyFrom(devices[0])
            own.devices.devices.extend(devices)
            own.tensor_type_list.CopyFrom(specs_message(asked.input_specs))
            if job.state == JobState.DONE and target is not None:
                own.target_tensor_type_list.CopyFrom(target.input_spec)
            if asked.dataset:
                own.calibration_dataset.CopyFrom(_dataset(store, asked.dataset))
        case "quantize":
            own = message.quantize_job
            own.MergeFrom(pb.QuantizeJob(quantize_job_id=job.id, model=models[0], **common))
            own.calibration_dataset.CopyFrom(_dataset(store, asked.dataset))
            own.tensor_type_list.CopyFrom(_inputs(job, models[0]))
            own.weights_dtype = _QUANTISED_NUMBERS[asked.weights]
            own.activations_dtype = _QUANTISED_NUMBERS[asked.activations]
        case "link":
            own = message.link_job
            own.MergeFrom(pb.LinkJob(link_job_id=job.id, **common))
            own.models.models.extend(models)
            own.device.CopyFrom(_device(asked.devices[0]))
        case "inference":
            own = _run_message(message, job, common, models[0], version)
            own.tensor_type_list.CopyFrom(_inputs(job, models[0]))
            if asked.dataset:
                own.dataset.CopyFrom(_dataset(store, asked.dataset))
    if target is not None:
        own.target_model.CopyFrom(target)
    own.user.email = job.owner
    _set(own, created=job.created, started=job.started, finished=job.finished)
    return message


def _run_message(
    message: Any, job: JobRecord, common: dict[str, Any], model: Any, version: tuple[int, ...]
) -> Any:
    older = job.asked.profile and version < _ONE_KIND
    own = message.profile_job if older else message.inference_job
    if older:
        own.MergeFrom(pb.ProfileJob(profile_job_id=job.id, model=model, **common))
    else:
        own.MergeFrom(pb.InferenceJob(inference_job_id=job.id, model=model, **common))
        own.is_profiling_on = job.asked.profile
    own.device.CopyFrom(_device(job.asked.devices[0]))
    profile = job.made.profile
    if profile is not None:
        _set_time(own, profile)
        # What the client prints of a job that is done, too; it prints no notices.
        own.failure_reason = f"{profile.basis}; {_NOTHING_ELSE}"
    return own


def result_message(store: Store, job: JobRecord, version: tuple[int, ...]) -> Any:
    """The `JobResult` of a job that is done; of a model that was made the tools that made it."""
    message = pb.JobResult()
    kind, profile = job.asked.kind, job.made.profile
    if kind != "inference":
        own = getattr(message, f"{kind}_job_result")
        setattr(own, f"{kind}_job_id", job.id)
        for key, value in store.get(ModelRecord, job.target).metadata.items():
            if key in TOOLS:
                tools = getattr(own, f"{kind}_detail").tool_versions
                tools.add(name=TOOLS[key], version=value)
        return message
    if job.asked.profile and version < _ONE_KIND:
        own = message.profile_job_result
        own.profile_job_id = job.id
        if profile is not None:
            own.profile.CopyFrom(profile_message(profile))
        return message
    own = message.inference_job_result
    own.inference_job_id = job.id
    own.output_dataset_id = job.made.output_dataset
    if profile is not None and job.asked.profile:
        own.detail.CopyFrom(profile_message(profile))
    return message


def profile_message(profile: Profile) -> Any:
    """The `ProfileDetail`. Clients print its times and memory bare, as a device's.

    So the time is the estimate, or 0 where there is none, and the rest is 0; what this host took is
    said among the versions of the tools.
    """
    detail = pb.ProfileDetail(major_version=1, minor_version=7)
    if profile.estimate is not None:
        _set_time(detail, profile)
        detail.all_execution_times.append(detail.execution_time)
    detail.execution_memory.peak.SetInParent()
    for layer in profile.layers:
        added = detail.layer_details.add(
            name=layer.name, layer_type_name=layer.type, compute_unit=int(layer.unit)
        )
        if layer.microseconds is not None:
            added.execution_time = round(layer.microseconds)
        if layer.cycles is not None:
            added.execution_cycles = layer.cycles
    for name, said in {**profile.tools, **_said(profile)}.items():
        if said:
            detail.tool_versions.add(name=name, version=said)
    return detail


def _said(profile: Profile) -> dict[str, str]:
    """Whose the figures of a profile are, and those of this host."""
    spent = {"pass": profile.host_time, "load": profile.load_time, "compile": profile.compile_time}
    seconds = (f"{what} {time / 1e6:.4g} s" for what, time in spent.items() if time)
    return {
        "time": profile.basis,
        "layers": profile.simulation,
        "host time": f"{', '.join(seconds)}: {profile.clock}",
        "host memory": f"{profile.peak_memory / 2**20:.0f} MB, the peak of the host's process",
    }


def _set_time(message: Any, profile: Profile) -> None:
    """The estimate as the time of an inference, in microseconds; none where there is none."""
    if profile.estimate is not None:
        message.execution_time = max(1, round(profile.estimate.time))


def summary_message(job: JobRecord, target: ModelKind, version: tuple[int, ...]) -> Any:
    """One `JobSummary`; `target` is the kind of the model that is made, or run."""
    message = pb.JobSummary()
    kind = job.asked.kind
    if kind == "inference" and job.asked.profile and version < _ONE_KIND:
        own = message.profile_job_summary
    else:
        own = getattr(message, f"{kind}_job_summary")
        if kind == "inference":
            own.is_profiling_on = job.asked.profile
    own.job_id, own.name, own.job_state = job.id, job.name, int(job.state)
    own.user.email = job.owner
    own.MergeFrom(type(own)(**_project(job.asked.project)))
    if job.asked.devices:
        device = _device(job.asked.devices[0])
        own.device_name, own.device_os_version = device.name, device.os
    own.target_model_type = int(target)
    profile = job.made.profile
    if profile is not None:
        _set_time(own, profile)
    _set(own, created=job.created, started=job.started, finished=job.finished)
    return message


def created_message(id: str, created: float, expires: float | None = None) -> Any:
    """The `CreateUpdateResponse` of a success."""
    message = pb.CreateUpdateResponse(id=id)
    _set(message, created=created, expires=expires)
    return message


def _inputs(job: JobRecord, model: Any) -> Any:
    """Those of the model of a job: what the job found, or what is known of it before."""
    return specs_message(job.made.inputs) if job.made.inputs else model.input_spec


def _dataset(store: Store, id: str) -> Any:
    return dataset_message(store.get(DatasetRecord, id))


def _project(id: str) -> dict[str, str]:
    return {"project_id": id, "project_slug": id} if id else {}


def _failure_type(job: JobRecord) -> int:
    """A `JobFailureType`: of success, of a reason of the job's or of the hub's own."""
    if job.state == JobState.DONE:
        return 1
    return 0 if not job.failure else 1000 if FAULT in job.failure else 2


def _device(name: str) -> Any:
    found = matching(name, "", ())
    return device_message(found[0]) if found else pb.Device(name=name)


def _set(
    message: Any,
    *,
    created: float,
    started: float | None = None,
    finished: float | None = None,
    expires: float | None = None,
) -> None:
    message.creation_time.seconds = int(created)
    if "queued_time" in message.DESCRIPTOR.fields_by_name:
        message.queued_time.seconds = int(created)
        message.last_updated_time.seconds = int(finished or started or created)
    if started is not None:
        message.start_time.seconds = int(started)
    if finished is not None:
        message.completion_time.seconds = int(finished)
    if expires is not None:
        message.expiration_time.seconds = int(expires)
