"""LJSpeech's form, that many voices come in: `metadata.csv` of `ID|text|normalised text`, beside a folder `wavs`."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from finetune.data.errors import ManifestError
from finetune.data.importers.found import AUDIO_SUFFIXES, Found, utterance


def rows(source: Path) -> Iterator[Found]:
    """One speaker; the normalised text where there is one. Lines have no header and no quoting."""
    table = source / "metadata.csv"
    try:
        lines = table.read_text(encoding="utf-8-sig").splitlines()
    except OSError as error:
        raise ManifestError(f"{table} cannot be read: {error.strerror}") from error
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        columns = line.split("|")
        if len(columns) not in (2, 3) or not columns[0]:
            raise ManifestError(f"{table}:{number}: got {len(columns)} columns, expected ID|text or ID|text|normalised")
        name = columns[0].removesuffix(".wav")
        audio = next(
            (path for suffix in AUDIO_SUFFIXES if (path := source / "wavs" / f"{name}{suffix}").is_file()), None
        )
        audio = audio or source / "wavs" / f"{name}.wav"
        text = columns[-1].strip() or columns[1]
        yield Found(utterance(id=name, audio=audio.name, text=text, source=f"{source.name}, {audio.name}"), audio)
