"""Archives that nobody vouches for: each unsafe one is refused by the right error, and leaves nothing behind."""

from __future__ import annotations

import io
import stat
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from app.errors import BadArchive, BadRequest
from app.jobs.archive import Limits, unpack
from app.jobs.prepare import main, prepare


def zipped(path: Path, *members: tuple[str, bytes], mode: int = 0) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members:
            info = zipfile.ZipInfo(name)
            info.external_attr = mode << 16
            info.compress_type = zipfile.ZIP_DEFLATED
            archive.writestr(info, content)
    return path


def tarred(path: Path, *members: tuple[str, bytes], change: Callable[[tarfile.TarInfo], object] | None = None) -> Path:
    with tarfile.open(path, "w:gz") as archive:
        for name, content in members:
            info = tarfile.TarInfo(name)
            info.size = len(content)
            if change is not None:
                change(info)
            archive.addfile(info, io.BytesIO(content))
    return path


def typed(kind: bytes, to: str = "") -> Callable[[tarfile.TarInfo], None]:
    def change(info: tarfile.TarInfo) -> None:
        info.type, info.linkname, info.size = kind, to, 0

    return change


@pytest.mark.parametrize("write", [zipped, tarred])
def test_what_is_safe_is_unpacked(write: Callable[..., Path], tmp_path: Path) -> None:
    archive = write(tmp_path / "a", ("manifest.jsonl", b"{}"), ("audio/anna/1.wav", b"RIFF"))
    unpack(archive, tmp_path / "out")
    assert (tmp_path / "out/audio/anna/1.wav").read_bytes() == b"RIFF"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a", "out"]


def test_a_folder_s_own_name_in_a_tar_is_no_fault(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "data/manifest.jsonl").write_text("{}")
    with tarfile.open(tmp_path / "a", "w:gz") as archive:
        archive.add(tmp_path / "data", ".")
    unpack(tmp_path / "a", tmp_path / "out")
    assert (tmp_path / "out/manifest.jsonl").is_file()


@pytest.mark.parametrize("write", [zipped, tarred])
@pytest.mark.parametrize("name", ["/etc/x", "../x", "a/../../x", "a\\..\\x", "a\nb", "x/" * 20 + "x", "x" * 600])
def test_names_that_lead_elsewhere_are_refused(write: Callable[..., Path], name: str, tmp_path: Path) -> None:
    refused(write(tmp_path / "a", ("good", b"1"), (name, b"2")), tmp_path, "the archive has")


@pytest.mark.parametrize(
    "change",
    [typed(tarfile.SYMTYPE, "/etc/passwd"), typed(tarfile.LNKTYPE, "good"), typed(tarfile.CHRTYPE),
     typed(tarfile.BLKTYPE), typed(tarfile.FIFOTYPE), typed(tarfile.GNUTYPE_SPARSE)],
)  # fmt: skip
def test_links_and_devices_are_refused(change: Callable[[tarfile.TarInfo], object], tmp_path: Path) -> None:
    refused(tarred(tmp_path / "a", ("x", b""), change=change), tmp_path, "a link or device|damaged")


def test_a_link_in_a_zip_is_refused(tmp_path: Path) -> None:
    refused(zipped(tmp_path / "a", ("x", b"/etc/passwd"), mode=stat.S_IFLNK | 0o777), tmp_path, "a link or device")


def test_an_encrypted_zip_is_refused(tmp_path: Path) -> None:
    archive = zipped(tmp_path / "a", ("x", b"1"))
    content = bytearray(archive.read_bytes())
    content[6] |= 1  # general purpose bit flag of the local header, and of the central directory's
    content[content.index(b"PK\1\2") + 8] |= 1
    archive.write_bytes(content)
    refused(archive, tmp_path, "encrypted")


def test_too_many_too_much_and_bombs_are_refused(tmp_path: Path) -> None:
    refused(zipped(tmp_path / "a", ("x", b"1"), ("y", b"2")), tmp_path, "more than 1 files", Limits(files=1))
    refused(zipped(tmp_path / "a", ("x", b"1" * 11)), tmp_path, "more than 10 bytes", Limits(bytes=10))
    bomb = zipped(tmp_path / "a", ("x", bytes(4 << 20)))
    refused(bomb, tmp_path, "at most 100 for each packed one")
    refused(tarred(tmp_path / "a", ("x", bytes(4 << 20))), tmp_path, "at most 100 for each packed one")


@pytest.mark.parametrize("names", [("x", "x"), ("x", "X"), ("x", "x/y")])
def test_the_same_name_twice_is_refused(names: tuple[str, str], tmp_path: Path) -> None:
    refused(tarred(tmp_path / "a", *((name, b"1") for name in names)), tmp_path, "twice|cannot be unpacked")


@pytest.mark.parametrize("content", [b"", b"hello", b"PK\3\4 cut off"])
def test_what_is_no_archive_is_refused(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(content)
    refused(tmp_path / "a", tmp_path, "no archive")


def test_a_damaged_archive_is_refused(tmp_path: Path) -> None:
    archive = tarred(tmp_path / "a", ("x", bytes(range(256)) * 2000))
    archive.write_bytes(archive.read_bytes()[:-400])
    refused(archive, tmp_path, "damaged")


def refused(archive: Path, folder: Path, message: str, limits: Limits | None = None) -> None:
    with pytest.raises(BadArchive, match=message):
        unpack(archive, folder / "out", limits)
    assert [path.name for path in folder.iterdir()] == ["a"]


def test_the_manifest_may_be_one_folder_down(tmp_path: Path) -> None:
    archive = zipped(tmp_path / "a", ("digits/manifest.jsonl", b"{}"), ("digits/audio/1.wav", b"RIFF"))
    prepare("recognizer", archive, None, tmp_path / "out")
    assert (tmp_path / "out/audio/1.wav").is_file()


def test_an_archive_without_a_manifest_is_refused_in_one_line(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    archive = zipped(tmp_path / "a", ("1.wav", b"RIFF"))
    assert main(["recognizer", str(archive), str(tmp_path / "out")]) == 1
    said = "parley: got an archive with 0 folders that have manifest.jsonl, expected one, with the audio beside\n"
    assert capfd.readouterr().err == said
    with pytest.raises(BadRequest, match="validation_file: in an archive"):
        prepare("recognizer", archive, archive, tmp_path / "out")
    (tmp_path / "t.jsonl").write_text("{}")
    with pytest.raises(BadArchive, match="expected a zip"):
        prepare("synthesizer", tmp_path / "t.jsonl", None, tmp_path / "out")


def test_joint_training_needs_recordings_and_dialogues(tmp_path: Path) -> None:
    speech = ("x/manifest.jsonl", b"{}")
    with pytest.raises(BadArchive, match="0 folders that have manifest"):
        prepare("joint", zipped(tmp_path / "a", speech), None, tmp_path / "out")
    prepare("joint", zipped(tmp_path / "a", speech, ("x/dialogues.jsonl", b"{}")), None, tmp_path / "out")
    assert (tmp_path / "out/dialogues.jsonl").is_file()
