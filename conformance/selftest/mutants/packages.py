"""Defects of a package for Genie: each changes the folder, or the zip of it."""

import json
import shutil
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from conformance.selftest.mutants.mutant import Mutant, unchanged
from conformance.selftest.packages import (
    DIM,
    FOLDER,
    LANGUAGE,
    NAMES,
    TEAM,
    VOCABULARY,
    compiles,
    language,
    vision,
    write_folder,
    zipped,
)

AIG = "aigc-2026"
EMBEDDING = f"embedding_weights_{VOCABULARY}x{DIM}.raw"
VEG = "serialized_binaries/veg.serialized.bin"
_FED = ("pixel_values", "position_ids_cos", "position_ids_sin", "mask")

Spoil = Callable[[Path], None]


@dataclass(frozen=True)
class PackageMutant(Mutant):
    """One defect of a package: `spoil` changes the team's folder, and `pack` makes the zip."""

    spoil: Spoil = lambda team: None
    pack: Callable[[Path], Path] = zipped

    def submit(self, folder: Path) -> list[str]:
        """Writes the package."""
        team = write_folder(folder)
        self.spoil(team)
        return [str(self.pack(team))]


def _mutant(
    name: str, rule: str, spoil: Spoil = lambda team: None, pack: Callable[[Path], Path] = zipped
) -> Mutant:
    return PackageMutant(name, AIG, unchanged, frozenset({rule}), spoil=spoil, pack=pack)


def _bytes(name: str, change: Callable[[bytes], bytes]) -> Spoil:
    def spoil(team: Path) -> None:
        file = team / name
        file.write_bytes(change(file.read_bytes() if file.exists() else b""))

    return spoil


def _is(name: str, data: Callable[[], bytes]) -> Spoil:
    return _bytes(name, lambda _: data())


def _gone(name: str) -> Spoil:
    return lambda team: (team / name).unlink()


def _called(name: str, new: str) -> Spoil:
    return lambda team: (team / name).rename(team / new) and None


def _said(value: Any, *keys: str, file: str = "inputs.json") -> Spoil:
    """Another value in a JSON file, or none at all."""

    def spoil(team: Path) -> None:
        found = json.loads((team / file).read_text())
        inner = found
        for key in keys[:-1]:
            inner = inner[key]
        inner.pop(keys[-1])
        if value is not None:
            inner[keys[-1]] = value
        (team / file).write_text(json.dumps(found))

    return spoil


def _and(*spoils: Spoil) -> Spoil:
    def spoil(team: Path) -> None:
        for each in spoils:
            each(team)

    return spoil


def _folder_twice(team: Path) -> None:
    shutil.copytree(team / FOLDER, team / "ar4-ar1-cl64")


def _loose(team: Path) -> Path:
    return Path(shutil.make_archive(str(team), "zip", team))


def _other_name(team: Path) -> Path:
    return zipped(team).rename(team.with_name("final.zip"))


def _of_a_mac(team: Path) -> Path:
    """As the Finder compresses: with a file of its own beside each."""
    path = zipped(team)
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr(f"__MACOSX/{TEAM}/._mask.raw", b"\0" * 8)
    return path


_DIALOG = ("genie_config", "dialog")
_CLASSES = ("model", "vocab")

ALL = [
    _mutant("zip without the folder", "AIG-1", pack=_loose),
    _mutant("zip of another name", "AIG-1", pack=_other_name),
    *(
        _mutant(f"no {name}", "AIG-2", _gone(name))
        for name in (LANGUAGE, EMBEDDING, "position_ids_cos.raw", "mask.raw")
    ),
    _mutant("vision encoder of another name", "AIG-2", _called(VEG, VEG.replace("veg", "vision"))),
    _mutant("a second context folder", "AIG-3", _folder_twice),
    _mutant("half of the other masks", "AIG-4", _called("mask.raw", "window_attention_mask.raw")),
    _mutant("inputs in Python's words", "AIG-5", _bytes("inputs.json", lambda b: b"{'a': True}")),
    _mutant("width as text", "AIG-5", _said("84", "data_preprocess_inp_w")),
    _mutant("no vocabulary", "AIG-5", _said(None, *_DIALOG, "context", "n-vocab")),
    _mutant("nowhere to write ctx-bins", "AIG-5", _said(None, *_DIALOG, "engine", "model")),
    _mutant("embedding of float16", "AIG-6", _bytes(EMBEDDING, lambda b: b[: len(b) // 2])),
    _mutant("embedding cut short", "AIG-6", _bytes(EMBEDDING, lambda b: b[:-3])),
    _mutant("two embeddings", "AIG-6", _is("embedding_weights.raw", lambda: b"\0" * 1024)),
    _mutant(
        "embedding in another type", "AIG-7", _said("float16", *_DIALOG, "embedding", "datatype")
    ),
    _mutant(
        "vision of another width",
        "AIG-7",
        _and(
            _said(DIM // 2, *_DIALOG, "embedding", "size"),
            _bytes(EMBEDDING, lambda b: b[: len(b) // 2]),
        ),
    ),
    _mutant("picture of another size", "AIG-8", _said(84, "data_preprocess_inp_h")),
    _mutant("position ids cut short", "AIG-9", _bytes("position_ids_sin.raw", lambda b: b[:-40])),
    _mutant("empty mask", "AIG-9", _bytes("mask.raw", lambda b: b"")),
    _mutant("no tokenizer", "AIG-10", _bytes("tokenizer.json", lambda b: b"[1, 2]")),
    _mutant(
        "token beyond the embedding",
        "AIG-10",
        _said({"word": VOCABULARY}, *_CLASSES, file="tokenizer.json"),
    ),
    _mutant(
        "end of text beyond the embedding",
        "AIG-10",
        _said(VOCABULARY, *_DIALOG, "context", "eos-token"),
    ),
    _mutant("notes beside the model", "AIG-11", _is(f"{FOLDER}/notes.txt", lambda: b"notes")),
    _mutant("what the Finder leaves", "AIG-11", _is(f"{FOLDER}/.DS_Store", lambda: b"Bud1")),
    _mutant("a README", "AIG-12", _is("README.md", lambda: b"# team")),
    _mutant("a zip of a Mac", "AIG-12", pack=_of_a_mac),
    _mutant("model cut short", "AIG-13", _bytes(LANGUAGE, lambda b: b[: len(b) // 2])),
    _mutant("empty vision encoder", "AIG-13", _bytes(VEG, lambda b: b"")),
    _mutant(
        "graphs of other names", "AIG-14", _is(LANGUAGE, lambda: language(("prefill", "step")))
    ),
    _mutant("one graph of two", "AIG-14", _is(LANGUAGE, lambda: language(NAMES[:1]))),
    _mutant("folder of another name", "AIG-14", _called(FOLDER, "ar4-ar1-cl32-final")),
    _mutant("longer context", "AIG-15", _said(64, *_DIALOG, "context", "size")),
    _mutant(
        "mask before the angles",
        "AIG-16",
        _is(VEG, lambda: vision((_FED[0], _FED[3], _FED[1], _FED[2]))),
    ),
    _mutant("vision without a mask", "AIG-16", _is(VEG, lambda: vision(_FED[:3]))),
    _mutant("embedding of another name", "AIG-17", _is(VEG, lambda: vision(output="output_0"))),
    _mutant(
        "vision of another chip",
        "AIG-18",
        _is(VEG, lambda: vision(device="Snapdragon 8 Elite QRD")),
    ),
]
_OF_BINARIES = {"AIG-13", "AIG-14", "AIG-16", "AIG-17", "AIG-18"}
# Without a compiler there is no binary to be looked at.
MUTANTS = [mutant for mutant in ALL if compiles() or not mutant.rules & _OF_BINARIES]
