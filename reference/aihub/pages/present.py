"""Records as the pages show them."""

import datetime
from importlib.util import find_spec

from reference.aihub.names import download_name
from reference.aihub.pages.render import size
from reference.aihub.pages.views import AssetView, JobView, Link, Sharing, State
from reference.aihub.records import DatasetRecord, JobRecord, JobState, ModelRecord, Record, User
from reference.aihub.store import Store


def job_view(store: Store, job: JobRecord, user: User) -> JobView:
    """A job as its page shows it."""
    asked, made = job.asked, job.made
    end = job.finished or (datetime.datetime.now(datetime.UTC).timestamp())
    basis = made.profile.basis if made.profile else ""  # which stands beside the time
    links = [Link(name, f"/jobs/{job.id}/file/{name}") for name in made.logs]
    target = store.get(ModelRecord, job.target) if job.target else None
    if target is not None and target.blob:
        links.insert(0, Link(_TARGETS[asked.kind], f"/models/{target.id}/file", size(target.size)))
    if made.output_dataset:
        output = store.get(DatasetRecord, made.output_dataset)
        links.insert(0, Link("OUTPUT DATASET", f"/datasets/{output.id}/file", size(output.size)))
    sources = [_source("models", store.get(ModelRecord, id)) for id in asked.models]
    if asked.dataset:
        sources.append(_source("datasets", store.get(DatasetRecord, asked.dataset)))
    return JobView(
        job.id,
        job.listed_kind,
        job.name,
        state_of(job.state),
        job.owner,
        _moment(job.created),
        ", ".join(asked.devices) or "any",
        None if job.started is None else end - job.started,
        asked.options,
        job.failure,
        tuple(notice for notice in made.notices if not (basis and notice.startswith(basis))),
        (("Weights", asked.weights), ("Activations", asked.activations)),
        tuple(sources),
        tuple(links),
        _netron(target) if target is not None else "",
        target.input_spec if target else asked.input_specs,
        target.output_spec if target else (),
        made.profile,
        _sharing(store, "jobs", job, user),
    )


_TARGETS = {
    "compile": "COMPILED MODEL",
    "quantize": "QUANTIZED MODEL",
    "link": "LINKED MODEL",
    "inference": "",
}


def asset_view(store: Store, record: ModelRecord | DatasetRecord, user: User) -> AssetView:
    """A model or a data set as its page shows it."""
    model = record if isinstance(record, ModelRecord) else None
    expires = None if isinstance(record, ModelRecord) else record.expires
    things = "models" if model else "datasets"
    producer = None
    if record.producer:
        job = store.get(JobRecord, record.producer)
        producer = Link(job.name or job.id, f"/jobs/{job.id}/")
    file = Link("DOWNLOAD", f"/{things}/{record.id}/file", size(record.size))
    return AssetView(
        record.id,
        record.name,
        model.kind.name.replace("_", " ").lower() if model else "data set",
        record.owner,
        _moment(record.created),
        record.size if record.blob else None,
        _moment(expires) if expires else None,
        producer,
        inputs=model.input_spec if model else (),
        outputs=model.output_spec if model else (),
        downloads=(file,) if record.blob else (),
        visualize=_netron(model) if model else "",
        sharing=_sharing(store, things, record, user),
    )


def _netron(model: ModelRecord) -> str:
    """Netron on a model that is one file of a kind that it reads."""
    readable = model.blob and not model.is_directory and model.kind.name != "QNN_CONTEXT_BINARY"
    if not readable or find_spec("netron") is None:
        return ""
    return f"/netron/index.html?url=/models/{model.id}/file&identifier={download_name(model)}"


def _sharing(store: Store, things: str, record: Record, user: User) -> Sharing:
    if record.owner == user.email:
        return Sharing(tuple(store.shares(record.id)), f"/{things}/{record.id}/share")
    return Sharing((user.email,))


def _source(things: str, record: ModelRecord | DatasetRecord) -> Link:
    return Link(record.name or record.id, f"/{things}/{record.id}/")


def state_of(state: JobState) -> State:
    """The four states that the pages know."""
    match state:
        case JobState.CREATED:
            return "waiting"
        case JobState.DONE:
            return "ready"
        case JobState.FAILED:
            return "failed"
    return "running"


def _moment(seconds: float) -> datetime.datetime:
    return datetime.datetime.fromtimestamp(seconds, datetime.UTC)
