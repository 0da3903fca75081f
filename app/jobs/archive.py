"""Unpacks an uploaded archive that nobody vouches for: regular files and folders below one folder, within limits.

What is counted is what is written, whatever the archive says of itself. Refused, with nothing left behind: names that
lead elsewhere, links, devices, encryption, the same name twice, too many files, too many bytes, too high a ratio.
"""

from __future__ import annotations

import shutil
import stat
import tarfile
import zipfile
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import IO, Any

from app.errors import BadArchive

PIECE = 1 << 20  # bytes


@dataclass(frozen=True, slots=True)
class Limits:
    """What an archive may hold."""

    files: int = 200_000
    bytes: int = 64 << 30
    ratio: int = 100
    """Bytes unpacked for each packed one, beyond the first megabyte: speech has about 2, text 10."""
    name: int = 512
    """Characters of a path."""
    depth: int = 16
    """Folders of a path."""


@dataclass(frozen=True, slots=True)
class _Member:
    name: str
    file: IO[bytes] | None
    """None: a folder."""


def unpack(archive: Path, folder: Path, limits: Limits | None = None) -> None:
    """Unpacks a zip, tar or compressed tar into a new folder, whole or not at all. Raises BadArchive."""
    limits = limits or Limits()
    allowed = min(limits.bytes, max(PIECE, archive.stat().st_size * limits.ratio))
    partial = folder.with_name(f"{folder.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    seen: set[str] = set()
    written = 0
    try:
        for member in _members(archive):
            if len(seen) >= limits.files:
                raise BadArchive(f"the archive has more than {limits.files} files")
            place = _place(member.name, limits)
            if not place.parts and member.file is None:  # `tar -C FOLDER .` names the folder itself
                continue
            key = str(place).casefold()  # a disk may not tell A from a
            if key in seen and member.file is not None:
                raise BadArchive(f"the archive has {member.name!r} twice")
            seen.add(key)
            if member.file is None:
                (partial / place).mkdir(parents=True, exist_ok=True)
                continue
            (partial / place).parent.mkdir(parents=True, exist_ok=True)
            with (partial / place).open("xb") as out:
                while piece := member.file.read(PIECE):
                    written += len(piece)
                    if written > allowed:
                        raise BadArchive(
                            f"the archive of {archive.stat().st_size} bytes unpacks to more than {allowed} bytes,"
                            f" expected at most {limits.ratio} for each packed one, and {limits.bytes} in all"
                        )
                    out.write(piece)
        partial.rename(folder)
    except (zipfile.BadZipFile, tarfile.TarError, zlib.error, EOFError, RuntimeError, NotImplementedError) as error:
        raise BadArchive(f"the archive is damaged or of an unknown kind: {error}") from error
    except (OSError, ValueError) as error:  # LZMA and gzip say OSError; a file where another name has a folder
        raise BadArchive(f"the archive cannot be unpacked: {error}") from error
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def _place(name: str, limits: Limits) -> PurePosixPath:
    """A member's path below the folder. Raises BadArchive."""
    path = PurePosixPath(name)
    if path.is_absolute() or ".." in path.parts or "\\" in name:
        raise BadArchive(f"the archive has {name!r}, expected only names below its own folder")
    if any(not character.isprintable() for character in name):
        raise BadArchive(f"the archive has {name!r}, expected a printable name")
    if len(name) > limits.name or len(path.parts) > limits.depth:
        raise BadArchive(
            f"the archive has a name of {len(name)} characters and {len(path.parts)} parts, which is too long"
        )
    return path


def _members(archive: Path) -> Iterator[_Member]:
    if zipfile.is_zipfile(archive):
        yield from _of_zip(archive)
    elif tarfile.is_tarfile(archive):
        yield from _of_tar(archive)
    else:
        raise BadArchive("the file is no archive: expected zip, tar or tar.gz")


def _of_zip(archive: Path) -> Iterator[_Member]:
    with zipfile.ZipFile(archive) as opened:
        for info in opened.infolist():
            kind = stat.S_IFMT(info.external_attr >> 16)
            if kind not in (0, stat.S_IFREG, stat.S_IFDIR):
                raise BadArchive(f"the archive has {info.filename!r}, a link or device; expected files and folders")
            if info.flag_bits & 1:
                raise BadArchive(f"the archive has {info.filename!r} encrypted; expected plain files")
            if info.is_dir():
                yield _Member(info.filename, None)
                continue
            with opened.open(info) as file:
                yield _Member(info.filename, file)


def _of_tar(archive: Path) -> Iterator[_Member]:
    with tarfile.open(archive, "r|*") as opened:  # a stream: one header at a time
        for info in opened:
            sparse: Any = info.issparse()  # a few bytes that stand for gigabytes
            if not (info.isreg() or info.isdir()) or sparse:
                raise BadArchive(f"the archive has {info.name!r}, a link or device; expected files and folders")
            yield _Member(info.name, None if info.isdir() else opened.extractfile(info))
