"""A VITS or MMS network of Coqui TTS: texts to waveforms, several at once. Knows no callers, queues or packs.

B texts of a batch, T tokens, F frames, C channels, S samples; S = F * hop.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from app.audio import Waveform
from app.errors import PackError
from app.workers.coqui_folder import CONFIG, device_of, fill, read_config, read_json

MMS_VOCABULARY = "vocab.txt"
"""Only voices of the MMS project have this file, and a configuration in fairseq's form beside it."""


@dataclass(frozen=True, slots=True)
class Line:
    """One text of a batch."""

    tokens: Sequence[int]
    speaker: int = 0
    """Number of the voice, where the network has several."""
    speed: float = 1.0


class VitsNetwork:
    """Satisfied by any VITS of Coqui TTS 0.28 with embedded speakers or none."""

    def __init__(self, folder: Path, *, device: str = "auto", threads: int = 1, language: str = "") -> None:
        """Loads the folder. Raises PackError. `language` is for networks that were trained on several."""
        import torch
        from torch.nn.utils import parametrize

        self._torch = torch
        torch.set_num_threads(threads)
        self._model = build_vits(folder)
        fill(self._model, folder)
        for module in self._model.modules():  # weights are made once, not at every call
            if parametrize.is_parametrized(module, "weight"):
                parametrize.remove_parametrizations(module, "weight")
        self.device = device_of(device)
        self._model.eval().to(self.device)
        self.sample_rate: int = self._model.config.audio.sample_rate
        """Hertz."""
        speakers = getattr(self._model.speaker_manager, "name_to_id", None) or {}
        self.speakers: dict[str, int] = dict(speakers)
        """Voices by name; empty where there is but one."""
        self._length_scale = float(self._model.length_scale)
        self._language = self._language_of(language)
        self._ends = _Ends(torch)
        self._ends.watch(self._model)
        self.batches = not self._model.args.encoder_sample_rate
        """Whether several lines may be spoken at once: not where frames are interpolated before they are decoded."""

    def tokens(self, text: str) -> list[int]:
        """What the network reads: the text by its own cleaner, phonemizer and alphabet; unknown characters drop out."""
        found: list[int] = self._model.tokenizer.text_to_ids(text, language=self._language or None)
        return found

    def speak(self, lines: Sequence[Line]) -> list[Waveform]:
        """Waveforms float32 [S] of the lines, each as if it were spoken alone. Raises RuntimeError of torch."""
        torch = self._torch
        lengths = [len(line.tokens) for line in lines]
        padded = np.zeros((len(lines), max(lengths)), dtype=np.int64)
        for row, line in zip(padded, lines, strict=True):
            row[: len(line.tokens)] = line.tokens
        aux: dict[str, Any] = {"x_lengths": torch.tensor(lengths, device=self.device)}  # (B,)
        if self.speakers:
            aux["speaker_ids"] = torch.tensor([line.speaker for line in lines], device=self.device)  # (B,)
        if self._model.args.use_language_embedding:
            number = self._model.language_manager.name_to_id[self._language]
            aux["language_ids"] = torch.full((len(lines),), number, device=self.device)  # (B,)
        scales = [self._length_scale / line.speed for line in lines]
        self._model.length_scale = torch.tensor(scales, device=self.device)[:, None, None]  # (B, 1, 1)
        outputs = self._model.inference(torch.from_numpy(padded).to(self.device), aux)
        frames = outputs["y_mask"].sum(dim=(1, 2)).long().tolist()  # B
        waveforms = outputs["model_outputs"].squeeze(1).float().cpu().numpy()  # (B, S)
        hop = waveforms.shape[1] // max(frames)
        return [waveform[: count * hop] for waveform, count in zip(waveforms, frames, strict=True)]

    def _language_of(self, language: str) -> str:
        if not self._model.args.use_language_embedding:
            return ""
        known = sorted(self._model.language_manager.name_to_id)
        for name in (language, language.partition("-")[0].lower()):
            if name in known:
                return name
        raise PackError(f"the voice speaks {', '.join(known)}; the pack's language is {language!r}")


class _Ends:
    """Where each line of the running batch ends: the decoder must see silence behind it.

    Encoder and flow mask their padding, the decoder does not: its convolutions carry what stands behind a short line
    into its last 20 ms or so. With every convolution's input masked, a line sounds in company as it does alone.
    """

    def __init__(self, torch: Any) -> None:
        self._torch = torch
        self._frames: Any = None  # (B,), None for a line alone
        self._most = 1
        self._masks: dict[int, Any] = {}  # by number of samples at one depth of the decoder: (B, 1, samples)

    def watch(self, model: Any) -> None:
        """Hooks into flow, which gets the lengths, and into the decoder's convolutions."""
        model.flow.register_forward_pre_hook(self._note)
        for name, module in model.waveform_decoder.named_modules():
            if hasattr(module, "kernel_size") and not name.startswith("cond"):  # conditions have no time axis
                module.register_forward_pre_hook(self._mask)

    def _note(self, _: Any, inputs: tuple[Any, ...]) -> None:
        frame_mask = inputs[1]  # (B, 1, F)
        self._frames = frame_mask.sum(dim=(1, 2)).long() if len(frame_mask) > 1 else None
        self._most = frame_mask.shape[-1]
        self._masks.clear()

    def _mask(self, _: Any, inputs: tuple[Any, ...]) -> tuple[Any, ...] | None:
        if self._frames is None:
            return None
        states = inputs[0]  # (B, C, samples at this depth)
        count = states.shape[-1]
        if count not in self._masks:
            places = self._torch.arange(count, device=states.device)
            self._masks[count] = (places < (self._frames * (count // self._most))[:, None])[:, None]
        return (states * self._masks[count],)


def build_vits(folder: Path) -> Any:
    """Coqui's `Vits` for a folder's configuration, its weights not yet loaded. Raises PackError."""
    from TTS.tts.configs.vits_config import VitsConfig
    from TTS.tts.models.vits import Vits

    if (folder / MMS_VOCABULARY).is_file():
        return _mms(folder)
    return _build(Vits, VitsConfig(), read_config(folder, "vits"), folder)


def _build(kind: Any, config: Any, values: dict[str, Any], folder: Path) -> Any:
    values["model_args"]["init_discriminator"] = False  # it only trains
    try:
        config.from_dict(values)
        return kind(config)
    except Exception as error:  # Coqui checks its configuration by whatever fails first
        raise PackError(f"{folder / CONFIG} makes no VITS: {error}") from error


def _mms(folder: Path) -> Any:
    """Facts of fairseq's configuration in Coqui's form, as `Vits.load_fairseq_checkpoint` of Coqui TTS reads them."""
    import torch
    from TTS.tts.configs.vits_config import VitsConfig
    from TTS.tts.models.vits import FairseqVocab, Vits
    from TTS.tts.utils.text import cleaners
    from TTS.tts.utils.text.tokenizer import TTSTokenizer

    data = read_json(folder / CONFIG).get("data", {})
    if missing := {"sampling_rate", "training_files", "add_blank"} - set(data):
        raise PackError(f"{folder / CONFIG}: table data lacks {sorted(missing)}")
    model = _build(Vits, VitsConfig(), {"model": "vits", "model_args": {}}, folder)
    model.config.audio.sample_rate = data["sampling_rate"]
    vocabulary = FairseqVocab.init_from_vocab_file(folder / MMS_VOCABULARY)
    model.text_encoder.emb = torch.nn.Embedding(vocabulary.num_chars, model.args.hidden_channels)
    romanised = str(data["training_files"]).endswith("uroman")
    model.tokenizer = TTSTokenizer(
        text_cleaner=cleaners.uroman_cleaners if romanised else cleaners.basic_cleaners,
        characters=vocabulary,
        add_blank=data["add_blank"],
    )
    return model
