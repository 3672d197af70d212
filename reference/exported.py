"""Exports of the project's own reference models, which the cache keeps; found without PyTorch."""

import contextlib
import errno
import hashlib
import json
import os
import platform
import shutil
import warnings
from collections.abc import Callable
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from reference.cache import Cache, file_digest
from reference.errors import CheckpointWarning
from reference.tracks import Track

_FORMAT = "1"  # of an entry; to be raised when its files change
_RECORD = "reference.json"
_HERE = Path(__file__).parent
# Whatever changes the weights or the graph.
_LIBRARIES = ("torch", "transformers", "numpy", "onnx", "onnxscript", "onnx-ir", "safetensors")


def find_exported(
    track: Track,
    folder: Path,
    form: str = "onnx",
    weights: Path | None = None,
    resolution: int | None = None,
    *,
    to_read: bool = False,
) -> dict[str, Path] | None:
    """Puts what is kept of such an export into `folder`; the files by part name, None where there
    is nothing. What was to be said of the checkpoint is said again, as CheckpointWarning.

    Where they are but `to_read`, they are other names of the files that are kept.
    """
    key = _key(track, form, weights, resolution)
    entry = Cache().find(key) if key else None
    if entry is None:
        return None
    record = json.loads((entry / _RECORD).read_text(encoding="utf-8"))
    for note in record["notes"]:
        warnings.warn(note, CheckpointWarning, stacklevel=2)
    folder.mkdir(parents=True, exist_ok=True)
    for file in entry.iterdir():
        if file.name in record["files"]:
            _place(file, folder / file.name, link=to_read)
    return {part: folder / name for part, name in record["parts"].items()}


def keep_exported(
    track: Track,
    folder: Path,
    form: str,
    weights: Path | None,
    resolution: int | None,
    export: Callable[[Path], dict[str, Path]],
) -> dict[str, Path]:
    """What is kept of such an export; else what `export` writes into the folder that it is given,
    and that is kept. Where the cache cannot be written, `export` gets `folder`.
    """
    asked = (track, folder, form, weights, resolution)
    found = find_exported(*asked)
    if found is not None:
        return found
    key, cache = _key(track, form, weights, resolution), Cache()
    if not key or not cache.writable:
        return export(folder)
    with cache.fill(key) as draft, warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", CheckpointWarning)
        paths = export(draft)
        notes = [str(each.message) for each in caught if each.category is CheckpointWarning]
        record = {
            "files": sorted(file.name for file in draft.iterdir()),
            "parts": {part: path.name for part, path in paths.items()},
            "notes": notes,
        }
        (draft / _RECORD).write_text(json.dumps(record), encoding="utf-8")
    for each in caught:
        if each.category is not CheckpointWarning:
            warnings.warn_explicit(each.message, each.category, each.filename, each.lineno)
    return find_exported(*asked) or export(folder)


def _key(track: Track, form: str, weights: Path | None, resolution: int | None) -> str:
    """Empty for what is not kept: the code of a track from outside may be anywhere."""
    own = track.home.startswith(f"{__package__}.")
    if not own or "model" in dict(track.rooms) or (weights and not weights.is_file()):
        return ""
    code = hashlib.sha256()
    package = _HERE / track.home.partition(".")[2]
    for file in sorted([*_HERE.glob("*.py"), *package.rglob("*.py")]):
        code.update(f"{file.relative_to(_HERE)} {file_digest(file)}".encode())
    facts = (
        _FORMAT,
        track,
        form,
        file_digest(weights) if weights else "",
        resolution,
        code.hexdigest(),
        [_version(name) for name in _LIBRARIES],
        (platform.python_version(), platform.system(), platform.machine()),
    )
    return hashlib.sha256(repr(facts).encode()).hexdigest()


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return ""


def _place(file: Path, target: Path, *, link: bool) -> None:
    target.unlink(missing_ok=True)
    if link:
        with contextlib.suppress(OSError):  # another disk
            os.link(file, target)
    if not target.exists():
        try:
            shutil.copyfile(file, target)
        except OSError as error:
            if error.errno == errno.ENOSPC:  # it names the source alone
                error.filename = str(target)
            raise
