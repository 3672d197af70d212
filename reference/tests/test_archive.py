"""Zip files from others: what comes out, and what never does."""

import contextlib
import os
import shutil
import stat
import struct
import warnings
import zipfile
from collections import namedtuple
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reference import archive
from reference.archive import unpack
from reference.errors import SubmissionError

MODEL = bytes(range(256)) * 40
Usage = namedtuple("Usage", "total used free")


def zipped(folder: Path, *entries: tuple[str | zipfile.ZipInfo, bytes], how: int = 8) -> Path:
    path = folder / "my.zip"
    with warnings.catch_warnings(), zipfile.ZipFile(path, "w") as file:
        warnings.simplefilter("ignore", UserWarning)  # at a name that is there twice
        for name, data in entries:
            info = name if isinstance(name, zipfile.ZipInfo) else zipfile.ZipInfo("x")
            info.filename = name if isinstance(name, str) else info.filename
            info.compress_type = how
            with file.open(info, "w") as entry:
                entry.write(data)
    return path


def unpacked(path: Path) -> dict[str, bytes]:
    folder = unpack(path, path.parent / "out", path.name)
    return {
        str(file.relative_to(folder)): file.read_bytes()
        for file in folder.rglob("*")
        if file.is_file()
    }


def link() -> zipfile.ZipInfo:
    info = zipfile.ZipInfo("my.data")
    info.external_attr = (stat.S_IFLNK | 0o777) << 16
    return info


@pytest.mark.parametrize("how", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, 12, zipfile.ZIP_LZMA])
def test_what_goes_in_comes_out(how: int, tmp_path: Path) -> None:
    path = zipped(
        tmp_path, ("a/my.onnx", MODEL), ("a/w/", b""), ("a/w/my.data", b"x" * 10**6), how=how
    )
    assert unpacked(path) == {"a/my.onnx": MODEL, "a/w/my.data": b"x" * 10**6}


def test_what_macos_adds_stays_out(tmp_path: Path) -> None:
    path = zipped(
        tmp_path,
        ("my/", b""),
        ("my/my.onnx", MODEL),
        ("my/.DS_Store", b"x"),
        ("my/._other.onnx", b"x"),
        ("__MACOSX/my/._my.onnx", b"x"),
        ("__MACOSX/my/again.onnx", b"x"),
    )
    assert unpacked(path) == {"my/my.onnx": MODEL}


def test_backslashes_are_separators(tmp_path: Path) -> None:
    """As old tools of Windows write them."""
    path = zipped(tmp_path, ("a\\", b""), ("a\\my.onnx", MODEL), ("a\\my.data", b"w"))
    assert unpacked(path) == {"a/my.onnx": MODEL, "a/my.data": b"w"}


def test_a_name_may_be_as_long_as_a_file_s(tmp_path: Path) -> None:
    name = "n" * 250 + ".onnx"
    assert unpacked(zipped(tmp_path, (name, MODEL))) == {name: MODEL}


def test_bounds() -> None:
    """A list of as many entries as are taken, each with a name of a hundred letters, is read."""
    assert 146 * archive.MOST_ENTRIES < archive.MOST_LIST_BYTES < 2**25


@pytest.mark.parametrize(
    ("entries", "told"),
    [
        ([("../my.onnx", MODEL)], "'../my.onnx', which leads outside the folder"),
        ([("a/../../my.onnx", MODEL)], "which leads outside the folder"),
        ([("..\\my.onnx", MODEL)], "which leads outside the folder"),
        ([("/etc/my.onnx", MODEL)], "which leads outside the folder"),
        ([("C:\\my.onnx", MODEL)], "which leads outside the folder"),
        ([("", MODEL)], "'', which is no name of a file"),
        ([(".", MODEL)], "'.', which is no name of a file"),
        ([("././", MODEL)], "which is no name of a file"),
        ([("\0my.onnx", MODEL)], "which is no name of a file"),
        ([("n" * 300, MODEL)], "which is too long for a name of a file"),
        ([("a/" + "ü" * 128 + "/b", MODEL)], "which is too long for a name of a file"),
        ([("a", MODEL), ("a/my.onnx", MODEL)], "'a' as a file and as a folder"),
        ([("a/b/my.onnx", MODEL), ("a", MODEL)], "'a' as a file and as a folder"),
        ([("a/", b""), ("a", MODEL)], "'a' as a file and as a folder"),
        ([("my.onnx", MODEL), ("my.onnx", b"x")], "'my.onnx' twice"),
        ([("my.onnx", MODEL), ("./my.onnx", b"x")], "'./my.onnx' twice"),
        ([("my.onnx", MODEL), (link(), b"/etc/passwd")], "'my.data', which is a link"),
        ([("a/", b"")], "my.zip holds no file"),
        ([("__MACOSX/a.onnx", MODEL)], "my.zip holds no file"),
    ],
)
def test_no_entry_leads_astray(
    entries: list[tuple[str | zipfile.ZipInfo, bytes]], told: str, tmp_path: Path
) -> None:
    path = zipped(tmp_path, *entries)
    with pytest.raises(SubmissionError) as refused:
        unpack(path, tmp_path / "out", "my.zip")
    assert told in refused.value.problem
    assert sorted(tmp_path.rglob("*")) == [path, tmp_path / "out"], "nothing was written"


def patched(path: Path, change: Callable[[bytearray, int, int], None]) -> Path:
    """The archive after `change`, which gets its bytes and where its two headers begin."""
    data = bytearray(path.read_bytes())
    change(data, data.index(b"PK\3\4"), data.index(b"PK\1\2"))
    path.write_bytes(data)
    return path


def test_a_password_is_told(tmp_path: Path) -> None:
    def encrypt(data: bytearray, local: int, central: int) -> None:
        data[local + 6] |= 1
        data[central + 8] |= 1

    path = patched(zipped(tmp_path, ("my.onnx", MODEL)), encrypt)
    with pytest.raises(SubmissionError, match=r"'my.onnx', which has a password; zip the folder w"):
        unpack(path, tmp_path / "out", "my.zip")


@pytest.mark.parametrize("how", [zipfile.ZIP_DEFLATED, 12, zipfile.ZIP_LZMA])
def test_no_more_is_written_than_was_announced(how: int, tmp_path: Path) -> None:
    """A bomb whose headers say that it is small."""
    announced = 1000

    def lie(data: bytearray, local: int, central: int) -> None:
        data[local + 22 : local + 26] = data[central + 24 : central + 28] = struct.pack(
            "<L", announced
        )

    path = patched(zipped(tmp_path, ("my.onnx", bytes(5_000_000)), how=how), lie)
    with pytest.raises(SubmissionError, match=r"my.zip cannot be unpacked .*CRC"):
        unpack(path, tmp_path / "out", "my.zip")
    assert (tmp_path / "out" / "my.onnx").stat().st_size <= announced


def test_more_than_the_disk_has(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = zipped(tmp_path, ("a.data", bytes(600)), ("my.onnx", bytes(500)))
    monkeypatch.setattr(shutil, "disk_usage", lambda folder: Usage(2000, 900, 1099))
    with pytest.raises(SubmissionError, match=r"unpacks to 0.0 GiB, more than the disk has; free"):
        unpack(path, tmp_path / "out", "my.zip")
    assert list((tmp_path / "out").iterdir()) == []
    monkeypatch.setattr(shutil, "disk_usage", lambda folder: Usage(2000, 900, 1100))
    unpack(path, tmp_path / "again", "my.zip")


def test_more_than_any_model_has(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def claim(data: bytearray, local: int, central: int) -> None:
        data[central + 24 : central + 28] = struct.pack("<L", 2**32 - 2)

    entries = [(f"{n}.data", b"x") for n in range(5)]
    path = zipped(tmp_path, *entries)
    data = path.read_bytes()
    size, claimed = struct.pack("<LL", 3, 1), struct.pack("<LL", 3, 2**32 - 2)
    assert data.count(size) == 2 * len(entries)
    path.write_bytes(data.replace(size, claimed))
    monkeypatch.setattr(shutil, "disk_usage", lambda folder: Usage(2**50, 0, 2**50))
    with pytest.raises(SubmissionError, match=r"20.0 GiB, more than the 16 GiB that it may"):
        unpack(path, tmp_path / "out", "my.zip")


def test_a_full_disk_is_the_users(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError(28, os.strerror(28))

    monkeypatch.setattr(archive, "_write", full)
    with pytest.raises(SubmissionError, match=r"cannot be unpacked to .*No space left on device"):
        unpack(zipped(tmp_path, ("my.onnx", MODEL)), tmp_path / "out", "my.zip")


@pytest.mark.parametrize("zip64", [False, True])
def test_a_long_list_is_not_read(
    zip64: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither where the end of the zip tells its length, nor where zip64's does."""
    monkeypatch.setattr(archive, "MOST_ENTRIES", 100)
    if zip64:
        monkeypatch.setattr(zipfile, "ZIP_FILECOUNT_LIMIT", 50)
    path = zipped(tmp_path, *((f"{n}", b"") for n in range(101)))
    assert (b"PK\6\6" in path.read_bytes()) == zip64
    monkeypatch.setattr(zipfile, "ZipFile", lambda *_: pytest.fail("the list was read"))
    with pytest.raises(SubmissionError, match=r"holds 101 files and at most 100 are taken"):
        unpack(path, tmp_path / "out", "my.zip")


def test_a_long_list_that_is_said_to_be_short(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = zipped(tmp_path, *((f"{n}", b"") for n in range(101)))
    data = bytearray(path.read_bytes())
    end = data.rindex(b"PK\5\6")
    data[end + 8 : end + 12] = struct.pack("<HH", 1, 1)
    path.write_bytes(data)
    monkeypatch.setattr(archive, "MOST_ENTRIES", 100)
    with pytest.raises(SubmissionError, match=r"holds 101 files and at most 100 are taken"):
        unpack(path, tmp_path / "out", "my.zip")
    monkeypatch.setattr(archive, "MOST_LIST_BYTES", 1000)
    with pytest.raises(SubmissionError, match=r"my.zip holds 1 files and at most 100 are taken"):
        unpack(path, tmp_path / "again", "my.zip")


@given(data=st.data())
@settings(max_examples=50)
def test_damage_is_one_line(data: st.DataObject, tmp_path_factory: pytest.TempPathFactory) -> None:
    folder = tmp_path_factory.mktemp("zip")
    how = data.draw(st.sampled_from([zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, 12, 14]))
    path = zipped(folder, ("a/my.onnx", MODEL[:600]), ("a/my.data", b"w" * 300), how=how)
    whole = bytearray(path.read_bytes())
    for _ in range(data.draw(st.integers(1, 4))):
        whole[data.draw(st.integers(0, len(whole) - 1))] = data.draw(st.integers(0, 255))
    path.write_bytes(whole[: data.draw(st.integers(1, len(whole)))])
    found: dict[str, bytes] = {}
    with contextlib.suppress(SubmissionError):
        found = unpacked(path)
    assert sum(map(len, found.values())) <= 1000
    shutil.rmtree(folder)
