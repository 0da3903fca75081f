"""The trained Whisper in the form that the recognizer worker serves, proved against the trainer. Knows no training.

EXPORT/hf            the model as transformers has it, adapters merged
EXPORT/recognizer    the same for the recognizer worker: CTranslate2
"""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from app.audio import Pcm16, to_pcm16
from app.packs import Pack, RecognizerSettings
from app.workers import connect
from app.workers.base import Recognizer
from app.workers.whisper_windows import Asked, Window, Windows
from finetune import threads
from finetune.data.rows import Utterance
from finetune.errors import ExportError, ParityError
from finetune.near_ties import UNROUNDED, behind
from finetune.recipes.recognizer_clips import pcm_of
from finetune.recipes.recognizer_config import Config
from finetune.recipes.recognizer_measure import spread
from finetune.recipes.recognizer_model import Network
from finetune.recipes.recognizer_rows import Encoder
from finetune.run import Run

STAGE = "recognizer"


@dataclass(frozen=True, slots=True)
class Probe:
    """One window of dev."""

    row: Utterance
    pcm: Pcm16
    window: Window


def export(
    run: Run,
    network: Network,
    tokenizer: Any,
    encoder: Encoder,
    dev: Sequence[Utterance],
    windows: Windows,
    base: Path,
    language: str,
    code: str,
    config: Config,
) -> None:
    """Writes both forms, and notes in the run's facts their parity and what a pack must say of them.

    `code` is the language whose token the prompt names. Raises ParityError, with nothing left to serve, where the
    worker hears otherwise than the model.
    """
    shutil.rmtree(run.export, ignore_errors=True)  # of an export that was killed
    network = network.float().cpu().eval()
    merged = network.merged()
    settings = {
        "trained_short": config.audio_context == "own",
        "margin_seconds": config.margin_seconds,
        "language_token": code,
    }
    save(merged, tokenizer, base, run.export / "hf")
    convert(run.export / "hf", run.export / STAGE, config.export.quantization)
    probes = probes_of(dev, windows, config.export.parity_clips)
    expected = [heard_by_trainer(network, encoder, probe) for probe in probes]
    found = served(run.export, probes, language, settings)
    try:
        parity = compare(network, encoder, probes, expected, found, config.export.tie_nats)
    except ParityError as error:
        convert(run.export / "hf", run.export / "unrounded" / STAGE, "float32")
        exact = _same(expected, served(run.export / "unrounded", probes, language, settings))
        shutil.rmtree(run.export)
        why = f"; in float32 it hears as the trainer, so rounding is to blame: {UNROUNDED}" if exact else ""
        raise ParityError(error.message + why) from error
    form = config.export.quantization
    run.note(export=sorted(path.name for path in run.export.iterdir()), parity={form: parity}, settings=settings)
    print(
        f"{form}: {parity['same']} of {parity['clips']} clips are heard as by the trainer, {parity['ties']} near ties, "
        f"{parity['refused']} loops"
    )


def save(whisper: Any, tokenizer: Any, base: Path, folder: Path) -> None:
    """A Hugging Face folder: weights, tokenizer, how features are made."""
    whisper.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    if (base / "preprocessor_config.json").is_file():
        shutil.copyfile(base / "preprocessor_config.json", folder / "preprocessor_config.json")
    else:
        from transformers import WhisperFeatureExtractor

        WhisperFeatureExtractor(feature_size=whisper.config.num_mel_bins).save_pretrained(folder)  # type: ignore[no-untyped-call]


def convert(folder: Path, target: Path, quantization: str) -> None:
    """A Hugging Face folder to what the worker loads. Raises ExportError."""
    from ctranslate2.converters import TransformersConverter

    files = ["tokenizer.json", "preprocessor_config.json"]
    try:
        TransformersConverter(str(folder), copy_files=files).convert(str(target), quantization=quantization, force=True)
    except ValueError as error:
        raise ExportError(f"{folder} cannot be converted, expected what CTranslate2 knows: {error}") from error


def probes_of(dev: Sequence[Utterance], windows: Windows, count: int) -> list[Probe]:
    """The first window of up to `count` clips, spread over dev. Raises ExportError where there is no sound."""
    found = []
    for row in spread(dev, count):
        window = windows.of(pcm_of(row), Asked())[0]
        if window.frames:
            found.append(Probe(row, to_pcm16(window.waveform), window))
    if not found:
        raise ExportError("got no clip of dev with sound to prove the export with, expected parity_clips of at least 1")
    return found


def heard_by_trainer(network: Network, encoder: Encoder, probe: Probe) -> str | None:
    """The trainer's likeliest text; None where it comes to no end, as the service drops such loops."""
    mels = torch.from_numpy(probe.window.features)[None]
    said = network.transcribe(mels, [encoder.prompt(probe.row.language)], probe.window.longest)[0]
    return encoder.text_of(said) if len(said) < probe.window.longest else None


def served(folder: Path, probes: Sequence[Probe], language: str, settings: dict[str, Any]) -> list[str]:
    """What the recognizer worker hears, asked as the service asks it, but with nothing held back as noise."""
    everything = RecognizerSettings(
        path=STAGE, no_speech_threshold=1.0, min_confidence=0.0, max_compression=float("inf"), **settings
    )
    pack = Pack(folder=folder, name="export", version="1", language=language, recognizer=everything)
    with threads.kept():
        engine = connect.load_recognizer(pack, "whisper", device="cpu")
        return asyncio.run(_texts(engine, probes))


async def _texts(engine: Recognizer, probes: Sequence[Probe]) -> list[str]:
    texts = []
    for probe in probes:
        recognition = await engine.start(language=probe.row.language)
        recognition.feed(probe.pcm)
        texts.append((await recognition.finish()).text)
    return texts


def compare(
    network: Network,
    encoder: Encoder,
    probes: Sequence[Probe],
    expected: Sequence[str | None],
    found: Sequence[str],
    tie_nats: float,
) -> dict[str, float]:
    """Counts of clips, of the same texts, of near ties, and of loops, which are not compared.

    Raises ParityError at the first other text.
    """
    ties = refused = 0
    for probe, ours, theirs in zip(probes, expected, found, strict=True):
        if ours is None:
            refused += 1
            continue
        if ours == theirs:
            continue
        nats = nats_behind(network, encoder, probe, theirs)
        if nats > tie_nats:
            raise ParityError(
                f"{STAGE}: in clip {probe.row.id} the exported model hears {theirs!r}, expected {ours!r}; the trainer "
                f"finds a token of it {nats:.2f} nats behind its own, tie_nats allows {tie_nats:g}"
            )
        ties += 1
    same = len(probes) - ties - refused
    return {"clips": len(probes), "same": same, "ties": ties, "refused": refused, "limit": 0.0}


def _same(expected: Sequence[str | None], found: Sequence[str]) -> bool:
    return all(ours in (None, theirs) for ours, theirs in zip(expected, found, strict=True))


@torch.no_grad()
def nats_behind(network: Network, encoder: Encoder, probe: Probe, text: str) -> float:
    """By how many nats the trainer's own choice is ahead on the way to another text; infinity where it is none."""
    states = network.encode(torch.from_numpy(probe.window.features)[None])
    prompt = encoder.prompt(probe.row.language)

    def so_far(written: list[int]) -> bool:
        return text.startswith(encoder.text_of(written).rstrip("\N{REPLACEMENT CHARACTER}"))

    return behind(
        lambda written: network.next_scores(states, [*prompt, *written], len(written)),
        so_far,
        lambda written: encoder.text_of(written) == text,
        [encoder.end],
        probe.window.longest,
    )
