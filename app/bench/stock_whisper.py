"""Stock faster-whisper behind a lock: how a server uses it that batches nobody. What `parley bench recognizer` beats.

The options are ours, so that the same weights do the same work: greedy or the pack's beam, no timestamps, no second
tries at other temperatures (its default, each of which costs another decode).
"""

from __future__ import annotations

import asyncio

from app.audio import HEARING_RATE, Pcm16, Waveform, to_waveform


class StockWhisper:
    """One model, one request at a time, every window padded to 30 s."""

    def __init__(
        self, path: str, *, device: str, compute_type: str, threads: int, beam_size: int, language: str
    ) -> None:
        from faster_whisper import WhisperModel

        self._model = WhisperModel(path, device=device, compute_type=compute_type, cpu_threads=threads)
        self._beam_size = beam_size
        self._language = language
        self._free = asyncio.Lock()

    async def hear(self, pcm: Pcm16) -> str:
        """The words of PCM16 at HEARING_RATE."""
        async with self._free:
            return await asyncio.to_thread(self._transcribe, to_waveform(pcm))

    def _transcribe(self, waveform: Waveform) -> str:
        assert len(waveform) <= 30 * HEARING_RATE, "the bench's clips fit a window"
        segments, _ = self._model.transcribe(
            waveform,
            language=self._language,
            beam_size=self._beam_size,
            temperature=0.0,
            without_timestamps=True,
            condition_on_previous_text=False,
        )
        return " ".join(segment.text.strip() for segment in segments)
