"""What a base recognizer hears in the recordings, to rank labels by how much it disagrees. Slow, so it is kept.

Knows recognizers only as the service's stages; which engine is behind one, `app.workers.connect` decides.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path

from tqdm import tqdm

from app.audio import HEARING_RATE, resample, to_pcm16
from app.errors import BadAudio, BadRequest
from app.packs import read_pack
from app.workers import connect
from app.workers.base import Recognizer
from finetune.data import recording
from finetune.data.kept import Kept
from finetune.data.measured import Measurement
from finetune.data.rows import Utterance
from finetune.data.texts import text_key
from finetune.measure import word_errors


def load(pack: Path, engine: str) -> Recognizer:
    """The recognizer of a pack: `whisper`, or `pocketsphinx` for English. Raises PackError, SettingsError."""
    return connect.load_recognizer(read_pack(pack), engine)


def heard(
    paths: Sequence[Path],
    rows: Sequence[Utterance],
    measurements: Sequence[Measurement],
    recognizer: Recognizer,
    cache: Path,
) -> list[str]:
    """A text for each row, empty where it could not be read; kept in `cache` by the hash of the samples."""
    with Kept(cache) as kept:
        return asyncio.run(_heard(paths, rows, measurements, recognizer, kept))


async def _heard(
    paths: Sequence[Path],
    rows: Sequence[Utterance],
    measurements: Sequence[Measurement],
    recognizer: Recognizer,
    kept: Kept,
) -> list[str]:
    texts = []
    for path, row, sound in zip(
        tqdm(paths, desc="listen", unit=" clips", disable=None), rows, measurements, strict=True
    ):
        if sound.fault:
            texts.append("")
            continue
        text = kept.get(sound.sound)
        if text is None:
            text = await _listen(path, row, recognizer)
            kept.put(sound.sound, text)
        texts.append(text)
    return texts


async def _listen(path: Path, row: Utterance, recognizer: Recognizer) -> str:
    try:
        found = recording.decode(await asyncio.to_thread(path.read_bytes), row.start_s, row.end_s)
    except BadAudio:
        return ""
    try:
        recognition = await recognizer.start(language=row.language)
    except BadRequest:  # it lacks the new language: then as whatever it takes it for
        recognition = await recognizer.start()
    recognition.feed(to_pcm16(resample(found.waveform, found.rate, HEARING_RATE)))
    return (await recognition.finish()).text


def disagreement(text: str, heard: str) -> float:
    """Character error rate of what was heard against the text, 1 at most; spaces, case and signs do not count."""
    said, got = (" ".join(text_key(one).replace(" ", "")) for one in (text, heard))
    letters = len(said.split())
    return min(1.0, word_errors(said, got) / letters) if letters else float(bool(got))
