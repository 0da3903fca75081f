"""`python -m app.jobs.prepare`: a job's data out of uploaded files, as a process. Knows no database.

An archive is unpacked; a plain JSONL of chats becomes dialogues by `parley data import`. What comes out is a folder as
`parley data import` writes it. Whatever is wrong is one line `parley: ...`.
"""

from __future__ import annotations

import argparse
import json
import resource
import shutil
import subprocess
import sys
import tarfile
import zipfile
from collections.abc import Sequence
from pathlib import Path

from app.errors import BadArchive, BadRequest, ParleyError
from app.jobs.archive import unpack
from app.jobs.methods import DIALOGUES, METHODS

MEMORY = 4 << 30  # bytes of address space: an archive's own headers must not fill the machine


def main(arguments: Sequence[str] | None = None, memory: int = 0) -> int:
    """Exit status 0, or 1 for data that cannot be used. `memory` limits this process, while it unpacks and after."""
    parser = argparse.ArgumentParser(prog="python -m app.jobs.prepare")
    parser.add_argument("recipe")
    parser.add_argument("training", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--validation", type=Path)
    args = parser.parse_args(arguments)
    try:
        prepare(args.recipe, args.training, args.validation, args.out, memory)
    except ParleyError as error:
        print(f"parley: {error.message}", file=sys.stderr)
        return 1
    return 0


def prepare(recipe: str, training: Path, validation: Path | None, out: Path, memory: int = 0) -> None:
    """Makes `out` from an archive, or from JSONL of chats for `language`. Raises BadRequest."""
    shutil.rmtree(out, ignore_errors=True)  # of an attempt that was cut off
    if zipfile.is_zipfile(training) or tarfile.is_tarfile(training):
        if validation is not None:
            raise BadRequest("validation_file: in an archive, `split` of the manifest's rows says which are dev")
        if memory:
            resource.setrlimit(resource.RLIMIT_AS, (memory, memory))
        _unpacked(training, out, METHODS[recipe].manifests)
        return
    if METHODS[recipe].manifests != (DIALOGUES,):
        wanted = " and ".join(METHODS[recipe].manifests)
        raise BadArchive(f"training_file: expected a zip or tar.gz with {wanted}, and the audio that is named there")
    _imported(training, out)
    if validation is not None:
        _imported(validation, out / "validation")
        rows = [*_rows(out / DIALOGUES, "train"), *_rows(out / "validation" / DIALOGUES, "dev")]
        (out / DIALOGUES).write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), "utf-8")
        shutil.rmtree(out / "validation")


def _unpacked(archive: Path, out: Path, manifests: Sequence[str]) -> None:
    """The archive's folder that has the manifests: its own, or the only one in it."""
    whole = out.with_name(f"{out.name}.unpacked")
    shutil.rmtree(whole, ignore_errors=True)
    try:
        unpack(archive, whole)
        folders = (whole, *whole.iterdir())
        places = [place for place in folders if all((place / manifest).is_file() for manifest in manifests)]
        if len(places) != 1:
            raise BadArchive(
                f"got an archive with {len(places)} folders that have {' and '.join(manifests)}, expected one, with"
                " the audio beside"
            )
        places[0].rename(out)
    except MemoryError:
        raise BadArchive("the archive's list of files does not fit into memory") from None
    finally:
        shutil.rmtree(whole, ignore_errors=True)


def _imported(source: Path, out: Path) -> None:
    command = [sys.executable, "-m", "app", "data", "import", "dialogues", str(source), "--out", str(out)]
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    print(done.stdout, flush=True)
    if done.returncode:
        last = [line for line in done.stdout.splitlines() if line.strip()][-1:] or ["it said nothing"]
        raise BadRequest(last[0].removeprefix("parley: ").replace(str(source), "training_file"))


def _rows(manifest: Path, split: str) -> list[dict[str, object]]:
    """Dialogues, all of one split."""
    return [json.loads(line) | {"split": split} for line in manifest.read_text("utf-8").splitlines() if line]


if __name__ == "__main__":
    sys.exit(main(memory=MEMORY))
