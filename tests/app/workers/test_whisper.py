"""The Whisper engine on the starter's real weights, with speech made by flite."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable
from pathlib import Path

import pytest

from app.audio import to_pcm16
from app.errors import BadRequest, PackError, WorkerBusy, WorkerError
from app.packs import read_pack
from app.workers.base import Transcript
from app.workers.whisper import INTERIM_BYTES, WhisperRecognizer
from tests.sounds import flite, noise, silence

PACK = Path(__file__).parents[3] / "models/packs/en-starter"
RATE = 16_000


def load(*, trained_short: bool = True, max_utterances: int = 64, compute_type: str = "default") -> WhisperRecognizer:
    """The starter's recognizer with its pack's own thresholds."""
    settings = read_pack(PACK).recognizer
    return WhisperRecognizer(
        str(PACK / "recognizer"),
        device="cpu",
        compute_type=compute_type,
        trained_short=trained_short,
        margin_seconds=settings.margin_seconds,
        no_speech_threshold=settings.no_speech_threshold,
        min_confidence=settings.min_confidence,
        language="en",
        max_utterances=max_utterances,
    )


@pytest.fixture(scope="module")
def whisper() -> WhisperRecognizer:
    return load()


async def heard(recognizer: WhisperRecognizer, pcm: bytes) -> Transcript:
    """The transcript of audio fed in frames."""
    recognition = await recognizer.start()
    for start in range(0, len(pcm), 1024):
        recognition.feed(pcm[start : start + 1024])
    return await recognition.finish()


@pytest.mark.parametrize("text", ["what time is it", "set a timer for five minutes", "turn on the lights"])
async def test_it_hears_the_words(whisper: WhisperRecognizer, text: str) -> None:
    pcm = flite(text, rate=RATE)
    transcript = await heard(whisper, pcm)
    assert transcript.text == text
    assert transcript.seconds == len(pcm) / 2 / RATE
    assert 0.5 < transcript.confidence <= 1.0
    assert transcript.no_speech_probability < 0.5
    assert (transcript.engine, transcript.language) == ("whisper", "en")


async def test_thirty_second_windows_give_the_same_words_in_more_time(whisper: WhisperRecognizer) -> None:
    pcm = flite("what time is it", rate=RATE)
    padded = load(trained_short=False)
    assert (await heard(padded, pcm)).text == (await heard(whisper, pcm)).text


@pytest.mark.parametrize(
    "pcm",
    [
        pytest.param(b"", id="nothing"),
        pytest.param(silence(0.02, RATE), id="a frame"),
        pytest.param(silence(2.0, RATE), id="digital silence"),
        pytest.param(to_pcm16(noise(2.0, 0.001, RATE)), id="hiss"),
        pytest.param(to_pcm16(noise(2.0, 0.1, RATE)), id="loud noise"),
        pytest.param(b"\x01", id="half a sample"),
    ],
)
async def test_no_words_where_nobody_speaks(whisper: WhisperRecognizer, pcm: bytes) -> None:
    transcript = await heard(whisper, pcm)
    assert transcript.text == ""
    assert transcript.no_speech_probability > 0.5


async def test_interim_texts_come_while_the_caller_speaks(whisper: WhisperRecognizer) -> None:
    pcm = flite("set a timer for five minutes", rate=RATE)
    recognition = await whisper.start()
    recognition.feed(pcm)
    hypotheses = recognition.hypotheses()
    assert "timer" in await anext(hypotheses)
    await recognition.finish()
    assert [text async for text in hypotheses] == []


async def test_hypotheses_end_with_an_abort_and_the_slot_is_free() -> None:
    recognizer = load(max_utterances=1)
    recognition = await recognizer.start()
    reading = asyncio.ensure_future(anext(recognition.hypotheses(), None))
    await asyncio.sleep(0)
    with pytest.raises(WorkerBusy, match="1 utterances are open, the limit is 1"):
        await recognizer.start()
    await recognition.abort()
    await recognition.abort()
    assert await reading is None
    with pytest.raises(WorkerError, match="ended"):
        await recognition.finish()
    await (await recognizer.start()).abort()
    assert (await recognizer.health()).detail["open"] == 0


MIXED = [
    ("hello", "slt"),
    ("yes", "kal16"),
    ("what time is it", "slt"),
    ("what time is it", "awb"),
    ("tell me a story", "kal16"),
    ("turn on the lights in the kitchen", "slt"),
    ("turn off the lights in the bedroom please", "awb"),
    ("what is the weather in paris", "kal16"),
    ("set a timer for forty five minutes and then tell me a story", "slt"),
]
"""Of one to four seconds; their short windows are of two to five lengths."""


@pytest.mark.parametrize("trained_short", [True, False], ids=["short", "padded"])
async def test_batched_text_is_the_text_alone(trained_short: bool) -> None:
    recognizer = load(trained_short=trained_short)
    clips = [flite(text, voice, RATE) for text, voice in (MIXED * 2 if trained_short else MIXED[:3])]
    alone = [await heard(recognizer, clip) for clip in clips]
    before = (await recognizer.health()).detail
    together = await asyncio.gather(*[heard(recognizer, clip) for clip in clips])
    after = (await recognizer.health()).detail
    assert together == alone  # confidence and no-speech probability too
    assert len({transcript.text for transcript in alone}) > 1
    if trained_short:
        assert after["batches"] - before["batches"] < len(clips)
        assert after["batch_size_largest"] > 1


@pytest.mark.parametrize("compute_type", ["int8", "float32"])
async def test_windows_of_any_kind_are_decoded_alike_in_company(compute_type: str) -> None:
    """Past the CPU's limits: what a GPU's batches do. Whole numbers agree to the last bit, others but for rounding."""
    recognizer = load(compute_type=compute_type)
    asked = recognizer._decoder.asked("en", "", "", False)
    windows = [recognizer._decoder.windows.of(flite(text, voice, RATE), asked)[0] for text, voice in MIXED]
    for kind in {window.kind for window in windows}:
        same = [window for window in windows if window.kind == kind] * 3
        together = recognizer._decoder.hear(same)
        alone = [recognizer._decoder.hear([window])[0] for window in same]
        assert [one.text for one in together] == [one.text for one in alone]
        assert [one.log_probability for one in together] == pytest.approx(
            [one.log_probability for one in alone], abs=1e-3
        )
        if compute_type == "int8":
            assert together == alone


async def test_callers_who_speak_finish_and_leave_at_once_keep_their_own_words() -> None:
    recognizer = load()
    rng = random.Random(0)

    async def caller(text: str, voice: str, *, leaves: bool) -> str | None:
        recognition = await recognizer.start()
        clip = flite(text, voice, RATE)
        hypotheses: list[str] = []

        async def read() -> None:
            async for hypothesis in recognition.hypotheses():
                hypotheses.append(hypothesis)

        reading = asyncio.ensure_future(read())
        for start in range(0, len(clip), 8192):
            recognition.feed(clip[start : start + 8192])
            for _ in range(rng.randrange(200)):
                await asyncio.sleep(0)
            if leaves and start > len(clip) // 2:
                await recognition.abort()
                await reading
                return None
        text = (await recognition.finish()).text
        await reading
        return text

    callers = [(text, voice, number % 3 == 2) for number, (text, voice) in enumerate(MIXED * 2)]
    together = await asyncio.gather(*[caller(text, voice, leaves=leaves) for text, voice, leaves in callers])
    for (text, voice, leaves), words in zip(callers, together, strict=True):
        assert words == (None if leaves else (await heard(recognizer, flite(text, voice, RATE))).text)
    detail = (await recognizer.health()).detail
    assert (detail["open"], detail["waiting"]) == (0, 0)


async def test_an_utterances_end_overtakes_its_interim_text() -> None:
    recognizer = load()
    clip = flite("what time is it", rate=RATE)
    recognition = await recognizer.start()
    recognition.feed(clip)
    reading = asyncio.ensure_future(anext(recognition.hypotheses(), None))
    while recognition._interim is None:
        await asyncio.sleep(0)
    transcript = await recognition.finish()
    assert await reading is None
    assert transcript.text == "what time is it"


async def test_where_many_speak_interim_texts_are_not_made_more_often_in_all(whisper: WhisperRecognizer) -> None:
    open_now = [await whisper.start() for _ in range(2)]
    assert whisper.interim_bytes == INTERIM_BYTES
    open_now += [await whisper.start() for _ in range(3)]
    assert whisper.interim_bytes == 3 * INTERIM_BYTES
    for recognition in open_now:
        await recognition.abort()
    assert whisper.interim_bytes == INTERIM_BYTES


async def test_long_audio_is_heard_in_windows(whisper: WhisperRecognizer) -> None:
    pcm = (flite("what time is it", rate=RATE) + silence(0.5, RATE)) * 22
    transcript = await heard(whisper, pcm)
    assert transcript.seconds > 34
    assert transcript.text.count("what time is it") >= 4  # windows of 8 s; the starter may lose count within one


async def test_an_english_model_refuses_another_language(whisper: WhisperRecognizer) -> None:
    with pytest.raises(BadRequest, match="anything but English"):
        await whisper.start(language="de")
    await (await whisper.start(language="en-GB")).abort()


async def test_health_names_engine_and_slots(whisper: WhisperRecognizer) -> None:
    health = await whisper.health()
    assert (health.stage, health.engine, health.model) == ("recognizer", "whisper", "recognizer")
    assert health.detail["slots"] == 64
    assert health.detail["device"] == "cpu"
    assert health.detail["waiting"] == 0
    assert 1.0 <= health.detail["batch_size_mean"] <= health.detail["batch_size_largest"]


@pytest.mark.parametrize(("asked", "used"), [("int8", "int8_float32"), ("float32", "float32")])
async def test_compute_types(asked: str, used: str) -> None:
    recognizer = load(compute_type=asked)
    assert (await recognizer.health()).detail["compute_type"] == used
    assert (await heard(recognizer, flite("what time is it", rate=RATE))).text == "what time is it"


def test_a_compute_type_that_the_device_lacks_is_refused() -> None:
    with pytest.raises(PackError, match="float16"):
        load(compute_type="float16")


async def test_a_closed_recognizer_says_so() -> None:
    recognizer = load()
    recognition = await recognizer.start()
    recognition.feed(flite("hello", rate=RATE))
    recognizer.close()
    with pytest.raises(WorkerError, match="unloaded"):
        await recognition.finish()
    assert (await recognizer.health()).detail["open"] == 0


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda folder: folder / "missing", "there is no folder"),
        (lambda folder: folder, "lacks model.bin, config.json, tokenizer.json"),
    ],
)
def test_a_wrong_path_says_what_was_expected(tmp_path: Path, spoil: Callable[[Path], Path], message: str) -> None:
    with pytest.raises(PackError, match=message):
        WhisperRecognizer(str(spoil(tmp_path)))


def test_broken_weights_are_a_pack_error(tmp_path: Path) -> None:
    for name in ("model.bin", "config.json", "tokenizer.json"):
        (tmp_path / name).write_bytes(b"nonsense")
    with pytest.raises(PackError, match="is not a CTranslate2 Whisper that can be loaded"):
        WhisperRecognizer(str(tmp_path))
