"""What the hub does when it is asked: nothing here knows of HTTP or of the protocol's messages."""

import time
import zipfile
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from reference.aihub.access import StorageAddress, Unknown, folded
from reference.aihub.blobs import Blob, Blobs, Damaged, Draft
from reference.aihub.checks import check_options
from reference.aihub.disposal import delete
from reference.aihub.names import download_name
from reference.aihub.options import (
    compile_options,
    compile_target,
    target_runtime,
)
from reference.aihub.problems import Forbidden, NotThere, Oversized, Refused
from reference.aihub.records import (
    Asked,
    DatasetRecord,
    JobRecord,
    JobState,
    ModelRecord,
    Record,
    User,
    new_id,
)
from reference.aihub.scheduler import Scheduler
from reference.aihub.store import KINDS_BY_LETTER, R, Store, U
from reference.aihub.tasks import (
    CompileTask,
    InferenceTask,
    LinkTask,
    Model,
    ModelKind,
    QuantizeTask,
    Task,
    TaskError,
)
from reference.archive import open_zip
from reference.errors import SubmissionError
from reference.npu.devices import find_device

_DATASET_SECONDS = 30 * 24 * 3600.0
_HDF5 = b"\x89HDF\r\n\x1a\n"
_TARGET_NAMES: dict[ModelKind, str] = {
    ModelKind.TFLITE: "optimized_tflite",
    ModelKind.ONNX: "optimized_onnx",
    ModelKind.QNN_CONTEXT_BINARY: "optimized_bin",
    ModelKind.QNN_DLC: "optimized_dlc",
}
_FOR_ONE_CHIP = ("qnn_context_binary", "precompiled_qnn_onnx")
_ZIPPED = (ModelKind.TORCHSCRIPT, ModelKind.TORCH_EXPORTED_PROGRAM)


@dataclass(frozen=True)
class Service:
    """One hub. Bytes: `max_upload`, and `quota` of all that somebody has, where 0 is no end."""

    store: Store
    blobs: Blobs
    scheduler: Scheduler
    max_upload: int
    quota: int = 0

    def create_model(
        self, user: User, name: str, kind: int, is_directory: bool, project: str
    ) -> ModelRecord:
        """A model that is yet to be uploaded."""
        if kind not in set(ModelKind):
            raise Refused(f"this hub takes no models of type {kind}")
        record = ModelRecord(
            new_id("m"), user.email, name, ModelKind(kind), is_directory, time.time(), project
        )
        self.store.insert(record)
        return record

    def create_dataset(self, user: User, name: str, permanent: bool, project: str) -> DatasetRecord:
        """A data set that is yet to be uploaded; it expires in 30 days unless `permanent`."""
        now = time.time()
        expires = None if permanent else now + _DATASET_SECONDS
        record = DatasetRecord(new_id("d"), user.email, name, now, expires, project)
        self.store.insert(record)
        return record

    def begin_upload(self, user: User, kind: type[U], id: str, size: int) -> U:
        """The thing that `size` bytes are to be uploaded for."""
        record = self.own(user, kind, id)
        if record.producer:
            raise Refused(f"{id} is made by job {record.producer}, and cannot be uploaded")
        if size > self.room(user):
            raise Oversized(
                f"{size / 1e6:.1f} MB is more than this hub takes ({self.max_upload / 1e6:.1f} MB)"
                if size > self.max_upload
                else f"{size / 1e6:.1f} MB is more than is left of the {self.quota / 1e6:.1f} MB"
                " that everybody has on this hub: delete models or data sets on its pages"
            )
        return record

    def room(self, user: User) -> int:
        """How many bytes an upload of `user` may have."""
        left = self.quota - self.store.bytes_of(user.email) if self.quota else self.max_upload
        return min(self.max_upload, max(0, left))

    def upload(self, address: StorageAddress, draft: Draft, blob: Blob) -> None:
        """What arrived at `address`. One upload is all that it takes; the same again is well."""
        with self.store.writing():
            kind = KINDS_BY_LETTER[address.asset[0]]
            record = self.own(address.user, kind, address.asset)
            before = self.store.uploaded(record.id)
            if getattr(record, "blob", "") or before not in (None, blob.digest):
                raise Forbidden("this address was used: ask for another upload")
            self.blobs.keep(draft, blob)
            self.store.add_upload(record.id, blob.digest)

    def complete_model(self, user: User, id: str, digests: Sequence[str]) -> ModelRecord:
        """The model is uploaded, in the parts `digests`; said again it changes nothing."""
        model = self.own(user, ModelRecord, id)
        if model.blob:
            return model
        digest, size = self._uploaded(id)
        if list(digests) != [digest]:
            raise Refused(f"{model.name} is not what was uploaded: upload it again")
        zipped = model.is_directory or model.kind in _ZIPPED
        if zipped and not zipfile.is_zipfile(self.blobs.path(digest)):
            raise Refused(f"{model.name} is no archive or was cut short: export it again")
        if zipped:
            with open_zip(self.blobs.path(digest), model.name) as archive:
                if not any(not entry.is_dir() for entry in archive.infolist()):
                    raise Refused(f"{model.name} is an archive without a file: export it again")
        return self.store.update(model, blob=digest, size=size)

    def complete_dataset(self, user: User, id: str) -> DatasetRecord:
        """The data set is uploaded; said again it changes nothing."""
        dataset = self.own(user, DatasetRecord, id)
        if dataset.blob:
            return dataset
        digest, size = self._uploaded(id)
        with self.blobs.path(digest).open("rb") as file:
            if file.read(len(_HDF5)) != _HDF5:
                raise Refused("the data set is not an HDF5 file")
        return self.store.update(dataset, blob=digest, size=size)

    def download(self, user: User, record: Record, log: str = "") -> str:
        """The key of a storage address of a thing's file, or of a log of a job.

        Raises NotThere where there is none, and Refused where the disk has damaged it.
        """
        if isinstance(record, JobRecord):
            digest, name = record.made.logs.get(log, ""), log
        else:
            digest, name = record.blob, download_name(record)
        if not digest:
            raise NotThere(f"{record.id} has no file: it was not uploaded, or its job failed")
        self._check(digest, name)
        return self.store.give_address(user, "download", record.id, digest, name)

    def address(self, key: str) -> StorageAddress:
        """What a storage address stands for; raises Unknown where it, or its access, has ended."""
        address = self.store.address(key)
        self.store.get(KINDS_BY_LETTER[address.asset[0]], address.asset, address.user.email)
        return address

    def submit(self, user: User, asked: Asked, project: str) -> JobRecord:
        """A new job, with the model that it is to make. Raises Refused for what cannot be done."""
        asked = replace(asked, project=project)
        models = [self._usable(user, id) for id in asked.models]
        if not models or (asked.kind == "link" and len(set(asked.models)) != len(models)):
            raise Refused("name the models of the job, each once")
        if asked.dataset:
            self._usable_dataset(user, asked.dataset)
        elif asked.kind == "quantize":
            raise Refused("a quantize job needs calibration data")
        now = time.time()
        job = JobRecord(
            new_id("j"), user.email, asked, JobState.CREATED, now, asked.name or models[-1].name
        )
        target = self._target(job, models)
        if target is None:
            self.store.insert(job)
        else:
            self.store.insert(target, replace(job, target=target.id))
        self.scheduler.wake()
        return job

    def delete(self, user: User, kind: type[R], id: str) -> None:
        """Deletes a thing of one's own; raises Refused while a job needs it."""
        delete(self.store, self.blobs, self.own(user, kind, id))

    def rename(self, user: User, id: str, name: str) -> JobRecord:
        """Gives a job another name."""
        return self.store.update(self.own(user, JobRecord, id), name=name)

    def change_sharing(
        self, user: User, record: Record, add: Iterable[str], remove: Iterable[str] | None
    ) -> None:
        """Shares a thing of one's own, or stops to; `remove` None is with nobody any more."""
        if record.owner != user.email:
            raise Forbidden(f"{record.id} belongs to somebody else, who alone can share it")
        added = [folded(email) for email in add]
        for email in added:
            if "@" not in email or any(c.isspace() for c in email):
                raise Refused(f"{email!r} is no e-mail address")
        self.store.share(record.id, added, remove)

    def own(self, user: User, kind: type[R], id: str) -> R:
        """A thing that the user may change."""
        record = self.store.get(kind, id, user.email)
        if record.owner != user.email:
            raise Forbidden(f"{id} belongs to somebody else")
        return record

    def _uploaded(self, id: str) -> tuple[str, int]:
        digest = self.store.uploaded(id)
        if digest is None:
            raise Refused("nothing was uploaded")
        return digest, self._check(digest, id)

    def _check(self, digest: str, name: str) -> int:
        try:
            return self.blobs.check(digest)
        except Damaged:
            raise Refused(
                f"{name} is damaged, or gone, on the disk of this hub: upload or make it again"
            ) from None

    def _usable(self, user: User, id: str) -> ModelRecord:
        try:
            model = self.store.get(ModelRecord, id, user.email)
        except Unknown:
            raise Refused(f"there is no model {id!r}, or it is not shared with you") from None
        if not model.blob and not model.producer:
            raise Refused(f"model {id} was never uploaded")
        return model

    def _usable_dataset(self, user: User, id: str) -> None:
        try:
            dataset = self.store.get(DatasetRecord, id, user.email)
        except Unknown:
            raise Refused(f"there is no dataset {id!r}, or it is not shared with you") from None
        if not dataset.blob:
            raise Refused(f"dataset {id} was never uploaded")
        if dataset.expires is not None and dataset.expires < time.time():
            raise Refused(f"dataset {id} has expired: upload it again")

    def _target(self, job: JobRecord, models: list[ModelRecord]) -> ModelRecord | None:
        """The model that a job is to make, so that others can be told to use it at once."""
        asked = job.asked
        try:
            check_options(_outline(asked, models))
            match asked.kind:
                case "compile":
                    kind = _compile_target(asked, models[0].kind)
                    name = _TARGET_NAMES[kind]
                case "quantize":
                    kind, name = ModelKind.ONNX, "quantized_onnx"
                case "link":
                    kind, name = ModelKind.QNN_CONTEXT_BINARY, "linked_bin"
                case "inference":
                    return None
        except (TaskError, SubmissionError) as error:
            raise Refused(str(error)) from None
        return ModelRecord(
            new_id("m"),
            job.owner,
            f"job_{job.id}_{name}",
            kind,
            kind == ModelKind.ONNX,
            job.created,
            asked.project,
            job.id,
        )


def _compile_target(asked: Asked, source: ModelKind) -> ModelKind:
    devices = [find_device(name) for name in asked.devices]
    runtime = target_runtime(compile_options(asked.options), devices[0], source)
    if runtime in _FOR_ONE_CHIP and len({device.soc for device in devices}) > 1:
        raise TaskError(
            f"{runtime} is for one chip: submit a job for each device (single_compile=False)"
        )
    return compile_target(asked.options, devices[0], source)


def _outline(asked: Asked, models: list[ModelRecord]) -> Task:
    """The job without its files, for its options to be looked at."""
    nowhere = Path()
    first, *_ = given = [Model(nowhere, model.kind) for model in models]
    data = nowhere if asked.dataset else None
    match asked.kind:
        case "compile":
            device = find_device(asked.devices[0])
            return CompileTask(first, device, asked.options, asked.input_specs, data)
        case "quantize":
            return QuantizeTask(first, asked.weights, asked.activations, nowhere, asked.options)
        case "link":
            return LinkTask(tuple(given), find_device(asked.devices[0]), asked.options)
        case "inference":
            device = find_device(asked.devices[0])
            return InferenceTask(first, device, asked.options, data, asked.profile)
