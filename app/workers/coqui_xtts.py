"""A cloned XTTS voice of Coqui TTS: a text to a stream of waveforms, its state kept apart. Knows no pack."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from app.audio import Waveform
from app.errors import BadAudio, BadRequest, PackError
from app.media import decode_to
from app.workers.chance import Chance
from app.workers.coqui_folder import CONFIG, device_of, fill, read_config
from app.workers.streamed import StreamedVoice

VOCABULARY = "vocab.json"
REFERENCE_RATE = 22_050  # Hz, at which XTTS hears the clip; wav_to_mel_cloning of Coqui TTS
LEAST_REFERENCE_SECONDS = 0.5  # Coqui TTS itself asks for 0.33 s; three seconds and more sound like somebody


class XttsNetwork:
    """Any XTTS of Coqui TTS 0.28."""

    def __init__(self, model: Any, reference: Path, *, language: str, device: str = "auto", threads: int = 1) -> None:
        """Clones the voice of the clip with a model of `read_xtts`. Raises PackError. `language` is BCP 47."""
        import torch

        self._torch = torch
        torch.set_num_threads(threads)
        self._model = model
        self._config = model.config
        self._model.eval()  # also makes the network that generates; Coqui's returns nothing
        self.device = device_of(device)
        self._model.to(self.device)
        self.sample_rate: int = self._config.audio.output_sample_rate
        """Hertz."""
        self._language = self._language_of(language)
        self._latents, self._speaker = self._clone(reference)

    def stream(self, text: str, voice: str, speed: float) -> XttsStream:
        """Begins a text, in the only voice. Raises BadRequest for one that is too long."""
        tokens = len(self._model.tokenizer.encode(text.strip().lower(), lang=self._language))
        most = self._model.args.gpt_max_text_tokens
        if tokens >= most:
            raise BadRequest(f"the text has {tokens} tokens, the voice speaks fewer than {most} at once", param="input")
        waveforms = self._model.inference_stream(
            text,
            self._language,
            self._latents,
            self._speaker,
            temperature=self._config.temperature,
            length_penalty=self._config.length_penalty,
            repetition_penalty=self._config.repetition_penalty,
            top_k=self._config.top_k,
            top_p=self._config.top_p,
            speed=speed,
        )
        return XttsStream(self._model.gpt, waveforms, Chance(text, self.device))

    def _language_of(self, language: str) -> str:
        for name in (language.lower(), language.partition("-")[0].lower()):
            if name in self._config.languages:
                return name
        known = ", ".join(self._config.languages)
        raise PackError(f"the voice speaks {known}; the pack's language is {language!r}")

    def _clone(self, reference: Path) -> tuple[Any, Any]:
        """What the network knows of the clip's voice; Coqui's own way needs a library that is not there."""
        try:
            clip = decode_to(reference.read_bytes(), REFERENCE_RATE)
        except (OSError, BadAudio) as error:
            raise PackError(f"{reference} is no reference clip: {error}") from error
        if len(clip) < LEAST_REFERENCE_SECONDS * REFERENCE_RATE:
            seconds = len(clip) / REFERENCE_RATE
            raise PackError(f"{reference} has {seconds:.2f} s of speech, expected {LEAST_REFERENCE_SECONDS} s or more")
        config = self._config
        clip = clip[: REFERENCE_RATE * config.max_ref_len]
        if config.sound_norm_refs:
            clip = clip / np.abs(clip).max() * 0.75
        audio = self._torch.from_numpy(np.ascontiguousarray(clip))[None].to(self.device)  # (1, samples)
        latents = self._model.get_gpt_cond_latents(
            audio, REFERENCE_RATE, length=config.gpt_cond_len, chunk_length=config.gpt_cond_chunk_len
        )
        return latents, self._model.get_speaker_embedding(audio, REFERENCE_RATE)


def build_xtts(folder: Path) -> Any:
    """Coqui's `Xtts` for a folder's configuration and vocabulary, its weights not yet loaded. Raises PackError."""
    from TTS.tts.configs.xtts_config import XttsConfig
    from TTS.tts.layers.xtts.tokenizer import VoiceBpeTokenizer
    from TTS.tts.models.xtts import Xtts

    values = read_config(folder, "xtts")
    try:
        config = XttsConfig()
        config.from_dict(values)
        model = Xtts(config)
        model.tokenizer = VoiceBpeTokenizer(vocab_file=folder / VOCABULARY)
        model.init_models()  # again: the number of text tokens comes from the vocabulary
    except Exception as error:  # Coqui and tokenizers check what they read by whatever fails first
        raise PackError(f"{folder / CONFIG} and {VOCABULARY} make no XTTS: {error}") from error
    return model


def read_xtts(folder: Path) -> Any:
    """Coqui's `Xtts` with the folder's weights. Raises PackError."""
    model = build_xtts(folder)
    fill(model, folder)
    return model


class XttsStream:
    """One text being spoken.

    Coqui's XTTS keeps the text that it speaks on the model (`cached_prefix_emb`), and draws samples from one source of
    chance: two streams side by side would continue each other's text. Each stream therefore carries both with it and
    puts them in place for its own steps.
    """

    def __init__(self, gpt: Any, waveforms: Any, chance: Chance) -> None:
        self._gpt = gpt
        self._waveforms = waveforms
        self._chance = chance
        self._prefix: Any = None

    def next(self) -> Waveform | None:
        """The next piece, float32 [samples]; None at the end."""
        inference = self._gpt.gpt_inference
        inference.cached_prefix_emb = self._prefix
        with self._chance.drawn():
            piece = next(self._waveforms, None)
        self._prefix = inference.cached_prefix_emb
        if piece is None:
            return None
        waveform: Waveform = piece.float().cpu().numpy()
        return waveform


def load_xtts(
    folder: Path,
    *,
    reference: str,
    consent: str,
    language: str,
    names: Sequence[str] = (),
    model: str = "",
    device: str = "auto",
    threads: int = 1,
    max_replies: int = 16,
) -> StreamedVoice:
    """The synthesizer of a folder with an XTTS model, in the voice of its clip `reference`. Raises PackError.

    `consent` says who agreed to what: a voice is not cloned without it.
    """
    if not consent.strip():
        raise PackError(
            f"{folder}: a voice is cloned only with its owner's consent; "
            f"the pack's [voice] consent must say who agreed to what, got nothing"
        )
    clip = folder / reference
    if not reference or not clip.is_file() or not clip.resolve().is_relative_to(folder.resolve()):
        raise PackError(f"{folder}: [voice] reference names no clip of this folder, got {reference!r}")
    logging.getLogger("TTS").setLevel(logging.ERROR)  # it logs callers' texts
    network = XttsNetwork(read_xtts(folder), clip, language=language, device=device, threads=threads)
    names = tuple(names) or (clip.stem,)
    return StreamedVoice(network, engine="coqui-xtts", names=names, model=model or folder.name, max_replies=max_replies)
