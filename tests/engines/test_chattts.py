"""ChatTTS voices on its real classes. Run by `make test-chattts`; nothing installs ChatTTS unasked."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path

import pytest

from app.errors import PackError
from app.workers.base import Synthesizer
from app.workers.chattts import load_chattts
from app.workers.streamed import StreamedVoice
from tests.engines import synthesizer_cases
from tests.engines.chattts_model import chattts
from tests.engines.coqui_models import TEXTS
from tests.engines.synthesizer_cases import chunks_of, pcm_of

PCM_TOLERANCE = 1.01 / 32768  # rounding may fall to the other side


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    with pytest.MonkeyPatch.context() as patch:
        yield chattts(tmp_path_factory.mktemp("packs") / "voice", patch)


@pytest.fixture
def voice(folder: Path) -> Iterator[StreamedVoice]:
    voice = load_chattts(folder, names=("anna", "ben"), device="cpu", max_replies=2)
    yield voice
    voice.close()


@pytest.mark.parametrize("case", synthesizer_cases.CASES, ids=lambda case: case.__name__)
async def test_it_keeps_the_contract(case: Callable[[Synthesizer], Awaitable[None]], voice: StreamedVoice) -> None:
    await case(voice)


async def test_each_of_eight_callers_hears_what_the_text_has_alone(folder: Path) -> None:
    voice = load_chattts(folder, device="cpu")
    await synthesizer_cases.case_each_stream_is_the_one_that_the_text_has_alone(voice, TEXTS, PCM_TOLERANCE)
    voice.close()


async def test_speech_is_streamed_and_each_name_is_a_voice(voice: StreamedVoice) -> None:
    chunks = await chunks_of(voice, TEXTS[2], voice="anna")
    assert len(chunks) > 1
    anna = b"".join(chunk.pcm for chunk in chunks)
    assert await pcm_of(voice, TEXTS[2], voice="ben") != anna
    assert await pcm_of(voice, TEXTS[2]) == anna  # the first is the default


def test_a_folder_that_is_no_voice_is_refused(tmp_path: Path, folder: Path) -> None:
    with pytest.raises(PackError, match=r"lacks Vocos\.safetensors"):
        load_chattts(tmp_path)
    (tmp_path / "spk_stat.pt").write_bytes(b"a pickle")
    with pytest.raises(PackError, match=r"holds spk_stat\.pt"):
        load_chattts(tmp_path)
