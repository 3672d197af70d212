"""What the hub keeps: users, models, data sets and jobs, as rows of its database."""

import secrets
import string
from dataclasses import dataclass, field
from enum import IntEnum
from typing import Literal

from reference.aihub.tasks import ModelKind, Profile, TensorSpec

JobKind = Literal["compile", "quantize", "link", "inference"]
ListedKind = Literal["compile", "quantize", "link", "inference", "profile"]
_ALPHABET = string.ascii_lowercase + string.digits


class JobState(IntEnum):
    """By the numbers of the client's protocol."""

    CREATED = 1
    DONE = 10
    FAILED = 30
    OPTIMIZING_MODEL = 50
    PROVISIONING_DEVICE = 60
    MEASURING_PERFORMANCE = 70
    RUNNING_INFERENCE = 80
    QUANTIZING_MODEL = 90
    LINKING_MODELS = 100

    @property
    def finished(self) -> bool:
        """Whether nothing more happens to the job."""
        return self in (JobState.DONE, JobState.FAILED)


@dataclass(frozen=True)
class User:
    """Somebody who was let in; `access` is the hash of the token or session that they came with."""

    email: str
    access: str = field(default="", compare=False)


@dataclass(frozen=True)
class ModelRecord:
    """One model; `blob` is empty until it is uploaded or made. Times are seconds since 1970."""

    id: str
    owner: str
    name: str
    kind: ModelKind
    is_directory: bool
    created: float
    project: str = ""
    producer: str = ""
    blob: str = ""
    size: int = 0
    input_spec: tuple[TensorSpec, ...] = ()
    output_spec: tuple[TensorSpec, ...] = ()
    metadata: dict[int, str] = field(default_factory=dict)


@dataclass(frozen=True)
class DatasetRecord:
    """One data set; `expires` is None for a permanent one."""

    id: str
    owner: str
    name: str
    created: float
    expires: float | None
    project: str = ""
    producer: str = ""
    blob: str = ""
    size: int = 0


@dataclass(frozen=True)
class Asked:
    """What a job was asked for. Devices are by name; `models` and `dataset` are ids."""

    kind: JobKind
    name: str
    models: tuple[str, ...]
    devices: tuple[str, ...] = ()
    options: str = ""
    dataset: str = ""
    input_specs: tuple[TensorSpec, ...] = ()
    weights: str = ""
    activations: str = ""
    profile: bool = False
    project: str = ""


@dataclass(frozen=True)
class Made:
    """What a finished job gave. `logs` are blobs by file name, `inputs` those of its model."""

    output_dataset: str = ""
    profile: Profile | None = None
    logs: dict[str, str] = field(default_factory=dict)
    notices: tuple[str, ...] = ()
    inputs: tuple[TensorSpec, ...] = ()


@dataclass(frozen=True)
class JobRecord:
    """One job. `attempt` counts how often it was started; `target` is the model that it makes."""

    id: str
    owner: str
    asked: Asked
    state: JobState
    created: float
    name: str
    target: str = ""
    started: float | None = None
    finished: float | None = None
    failure: str = ""
    attempt: int = 0
    made: Made = Made()

    @property
    def listed_kind(self) -> ListedKind:
        """What lists call it: a run with a profile is a profile job."""
        return "profile" if self.asked.profile else self.asked.kind


Record = ModelRecord | DatasetRecord | JobRecord


def new_id(prefix: str) -> str:
    """`jxxxxxxxx`: a letter for what it is and eight that cannot be guessed."""
    return prefix + "".join(secrets.choice(_ALPHABET) for _ in range(8))
