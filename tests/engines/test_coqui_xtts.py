"""A cloned XTTS voice on the real classes of Coqui TTS. Run by `make test-coqui`, in the environment of Coqui."""

from __future__ import annotations

import asyncio
import itertools
import shutil
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

from app.audio import to_waveform
from app.errors import BadRequest, PackError
from app.reply import close
from app.workers.base import Synthesizer
from app.workers.coqui_xtts import XttsNetwork, load_xtts, read_xtts
from app.workers.streamed import StreamedVoice
from tests.engines import coqui_models, synthesizer_cases
from tests.engines.synthesizer_cases import chunks_of, pcm_of

CONSENT = "The reader agreed in writing that this voice is cloned for tests."
PCM_TOLERANCE = 1.01 / 32768  # rounding may fall to the other side


def xtts_voice(folder: Path, *, consent: str = CONSENT, reference: str = "reader.wav", **options: int) -> StreamedVoice:
    return load_xtts(folder, reference=reference, consent=consent, language="en-US", device="cpu", **options)  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    with pytest.MonkeyPatch.context() as patch:
        coqui_models.shrink_xtts(patch)
        yield coqui_models.xtts(tmp_path_factory.mktemp("packs") / "voice")


@pytest.fixture
def voice(folder: Path) -> Iterator[StreamedVoice]:
    voice = xtts_voice(folder, max_replies=2)
    yield voice
    voice.close()


@pytest.mark.parametrize("case", synthesizer_cases.CASES, ids=lambda case: case.__name__)
async def test_it_keeps_the_contract(case: Callable[[Synthesizer], Awaitable[None]], voice: StreamedVoice) -> None:
    await case(voice)


async def test_speech_is_streamed(voice: StreamedVoice) -> None:
    chunks = await chunks_of(voice, coqui_models.TEXTS[0])
    assert len(chunks) > 2
    assert (await voice.health()).detail["voices"] == ["reader"]


async def test_each_of_eight_callers_hears_what_the_text_has_alone(folder: Path) -> None:
    """With sampling as in service: each stream has its own chance, which begins with its text."""
    voice = xtts_voice(folder)
    texts = coqui_models.TEXTS
    await synthesizer_cases.case_each_stream_is_the_one_that_the_text_has_alone(voice, texts, PCM_TOLERANCE)
    voice.close()


def test_streams_that_share_the_models_state_would_not(folder: Path) -> None:
    """The failure that the proof is about: Coqui's own streams, side by side, speak each other's text."""
    network = XttsNetwork(read_xtts(folder), folder / "reader.wav", language="en", device="cpu")

    def rounds(texts: tuple[str, ...]) -> list[np.ndarray]:
        # Greedy, so that chance plays no part.
        streams = [
            network._model.inference_stream(text, "en", network._latents, network._speaker, top_k=1) for text in texts
        ]
        pieces = itertools.zip_longest(*streams)
        return [np.concatenate([p.numpy() for p in own if p is not None]) for own in zip(*pieces, strict=True)]

    first, second = "Hello you!", "Hello you"  # one token apart, or the positions would lie beyond their table
    alone, together = rounds((first,))[0], rounds((first, second))[0]
    assert len(alone) != len(together) or float(np.abs(alone - together).max()) > 100 * PCM_TOLERANCE


async def test_a_caller_who_leaves_changes_nothing_for_the_others(folder: Path) -> None:
    async def leave(text: str) -> None:
        chunks = voice.speak(text)
        await anext(chunks)
        await close(chunks)

    voice = xtts_voice(folder)
    alone = await pcm_of(voice, coqui_models.TEXTS[0])
    leaving = [leave(text) for text in coqui_models.TEXTS[1:4]]
    together, *_ = await asyncio.gather(pcm_of(voice, coqui_models.TEXTS[0]), *leaving)
    np.testing.assert_allclose(to_waveform(together), to_waveform(alone), atol=PCM_TOLERANCE)
    assert (await voice.health()).detail["replies"] == 0
    voice.close()


async def test_a_text_beyond_the_networks_reach_is_refused(voice: StreamedVoice) -> None:
    with pytest.raises(BadRequest, match="fewer than 120 at once"):
        await pcm_of(voice, "word " * 60)
    assert (await voice.health()).detail["replies"] == 0


def test_no_voice_is_cloned_without_consent(folder: Path) -> None:
    with pytest.raises(PackError, match="owner's consent"):
        xtts_voice(folder, consent=" ")
    with pytest.raises(PackError, match="names no clip"):
        xtts_voice(folder, reference="../reader.wav")
    with pytest.raises(PackError, match="names no clip"):
        xtts_voice(folder, reference="")


def test_a_folder_that_is_no_voice_is_refused(tmp_path: Path, folder: Path) -> None:
    broken = Path(shutil.copytree(folder, tmp_path / "voice"))
    (broken / "reader.wav").write_bytes(b"no audio")
    with pytest.raises(PackError, match="no reference clip"):
        xtts_voice(broken)
    (broken / "vocab.json").write_text("{}")
    with pytest.raises(PackError, match=r"vocab\.json make no XTTS"):
        xtts_voice(broken)
    with pytest.raises(PackError, match=r"speaks en, de; the pack's language is 'cs'"):
        load_xtts(folder, reference="reader.wav", consent=CONSENT, language="cs", device="cpu")
