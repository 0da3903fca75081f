"""ChatTTS voices: a text to a stream of waveforms. Knows no pack.

ChatTTS is under the AGPL and its weights are under CC BY-NC, so that nothing installs or loads it unasked.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from app.audio import Waveform
from app.errors import PackError
from app.workers.chance import Chance
from app.workers.streamed import StreamedVoice

CODE_LICENCE = "AGPL-3.0-or-later"
"""Of the library itself: whoever offers it over a network publishes the source of the whole service."""

FILES = frozenset((".safetensors", ".json", ".txt"))
"""Kinds of files that the folder may hold."""

MIDDLE_SPEED = 5  # ChatTTS was taught ten speeds, by number
FEWEST_TOKENS, TOKENS_PER_CHARACTER = 64, 6  # twice what a text takes at 47 tokens a second: it may fail to find an end


class ChatTtsNetwork:
    """ChatTTS 0.2.5 on the folder that it calls `asset`."""

    def __init__(self, folder: Path, *, device: str = "auto", threads: int = 1) -> None:
        """Loads the folder. Raises PackError."""
        import ChatTTS
        import torch

        torch.set_num_threads(threads)
        strange = sorted(path.name for path in folder.rglob("*") if path.is_file() and path.suffix not in FILES)
        if strange:
            raise PackError(f"{folder} holds {', '.join(strange)}; expected only {', '.join(sorted(FILES))}")
        self.device = ("cuda" if torch.cuda.is_available() else "cpu") if device == "auto" else device
        logger = logging.getLogger("ChatTTS")
        logger.setLevel(logging.CRITICAL)  # it logs callers' texts
        self._chat = ChatTTS.Chat(logger)
        # `Chat.load` takes only the weights that its authors published; the step below it takes those of any training.
        parts = asdict(self._chat.config.path)
        paths = {key: str(folder / Path(part).relative_to("asset")) for key, part in parts.items()}
        for path in paths.values():
            if not Path(path).exists():
                raise PackError(f"{folder} lacks {Path(path).relative_to(folder)}")
        if not (folder / "gpt" / "model.safetensors").is_file():
            raise PackError(f"{folder} lacks gpt/model.safetensors")
        try:
            loaded = self._chat._load(**paths, device=torch.device(self.device))
        except Exception as error:  # torch, transformers and safetensors raise whatever fails first
            raise PackError(f"{folder} makes no ChatTTS: {error}") from error
        if not loaded:
            raise PackError(f"{folder} makes no ChatTTS: a part of it is missing")
        self.sample_rate: int = self._chat.config.vocos.feature_extractor.init_args.sample_rate
        """Hertz."""
        self._speakers: dict[str, str] = {}

    def stream(self, text: str, voice: str, speed: float) -> ChatTtsStream:
        """Begins a text in the voice that belongs to a name: ChatTTS makes voices by chance, this one by the name's."""
        import ChatTTS

        if voice not in self._speakers:
            with Chance(voice, self.device).drawn():
                self._speakers[voice] = self._chat.sample_random_speaker()
        wish = ChatTTS.Chat.InferCodeParams(
            prompt=f"[speed_{min(9, max(0, round(MIDDLE_SPEED * speed)))}]",
            spk_emb=self._speakers[voice],
            max_new_token=round((FEWEST_TOKENS + TOKENS_PER_CHARACTER * len(text)) / min(1.0, speed)),
            show_tqdm=False,
        )
        waveforms = self._chat.infer(
            [text], stream=True, skip_refine_text=True, split_text=False, params_infer_code=wish
        )
        return ChatTtsStream(waveforms, Chance(text, self.device))


class ChatTtsStream:
    """One text being spoken. ChatTTS keeps what belongs to it in its generator, all but chance."""

    def __init__(self, waveforms: Any, chance: Chance) -> None:
        self._waveforms = waveforms
        self._chance = chance

    def next(self) -> Waveform | None:
        """The next piece, float32 [samples]; None at the end."""
        with self._chance.drawn():
            piece = next(self._waveforms, None)  # (1, samples)
        if piece is None:
            return None
        waveform: Waveform = piece[0].astype("float32")
        return waveform


def load_chattts(
    folder: Path,
    *,
    names: Sequence[str] = (),
    model: str = "",
    device: str = "auto",
    threads: int = 1,
    max_replies: int = 16,
) -> StreamedVoice:
    """The synthesizer of a folder with ChatTTS weights; each of `names` is a voice of its own. Raises PackError."""
    network = ChatTtsNetwork(folder, device=device, threads=threads)
    names = tuple(names) or (folder.name,)
    return StreamedVoice(network, engine="chattts", names=names, model=model or folder.name, max_replies=max_replies)
