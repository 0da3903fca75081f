"""VITS and MMS voices on the real classes of Coqui TTS. Run by `make test-coqui`, in the environment of Coqui."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

from app.audio import to_waveform
from app.errors import PackError, WorkerError
from app.workers.base import Synthesizer
from app.workers.coqui_vits import CoquiVits
from app.workers.coqui_vits_network import Line, VitsNetwork
from tests.engines import coqui_models, synthesizer_cases
from tests.engines.synthesizer_cases import TEXT, pcm_of

BATCH_TOLERANCE = 1e-5  # of full scale, a third of a PCM16 step: sums are taken in another order in a batch
PCM_TOLERANCE = 1.01 / 32768  # rounding may fall to the other side


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return coqui_models.vits(tmp_path_factory.mktemp("packs") / "voice")


@pytest.fixture
def voice(folder: Path) -> Iterator[CoquiVits]:
    voice = CoquiVits(folder, names=("tiny",), device="cpu", max_replies=2)
    yield voice
    voice.close()


@pytest.mark.parametrize("case", synthesizer_cases.CASES, ids=lambda case: case.__name__)
async def test_it_keeps_the_contract(case: Callable[[Synthesizer], Awaitable[None]], voice: CoquiVits) -> None:
    await case(voice)


async def test_each_of_eight_callers_hears_what_the_text_has_alone(folder: Path) -> None:
    voice = CoquiVits(folder, device="cpu", max_batch=8)
    texts = coqui_models.TEXTS
    await synthesizer_cases.case_each_stream_is_the_one_that_the_text_has_alone(voice, texts, PCM_TOLERANCE)
    voice.close()


def test_a_batch_gives_the_samples_of_single_lines(folder: Path) -> None:
    network = VitsNetwork(folder, device="cpu")
    lines = [Line(network.tokens(text)) for text in coqui_models.TEXTS]
    alone = [network.speak([line])[0] for line in lines]
    together = network.speak(lines)
    assert [len(waveform) for waveform in together] == [len(waveform) for waveform in alone]
    assert len({len(waveform) for waveform in alone}) > 5
    worst = max(float(np.abs(one - other).max()) for one, other in zip(alone, together, strict=True))
    print(f"greatest difference between a batch of {len(lines)} and single lines: {worst:.2e} of full scale")
    assert worst <= BATCH_TOLERANCE


def test_an_unmasked_decoder_would_not(folder: Path) -> None:
    """The masks are needed: what is proven above fails without them."""
    network = VitsNetwork(folder, device="cpu")
    for module in network._model.waveform_decoder.modules():
        module._forward_pre_hooks.clear()
    lines = [Line(network.tokens(text)) for text in coqui_models.TEXTS]
    short = min(range(len(lines)), key=lambda i: len(lines[i].tokens))
    alone, together = network.speak([lines[short]])[0], network.speak(lines)[short]
    assert float(np.abs(alone - together).max()) > 10 * BATCH_TOLERANCE


async def test_speeds_and_speakers_of_one_batch_stay_apart(tmp_path: Path) -> None:
    voice = CoquiVits(coqui_models.vits(tmp_path / "voice", ("anna", "ben")), device="cpu", max_batch=4)
    assert (await voice.health()).detail["voices"] == ["anna", "ben"]
    wishes = [("anna", 1.0), ("ben", 1.0), ("anna", 2.0), ("anna", 0.5)]
    alone = [to_waveform(await pcm_of(voice, TEXT, voice=name, speed=speed)) for name, speed in wishes]
    together = await asyncio.gather(*(pcm_of(voice, TEXT, voice=name, speed=speed) for name, speed in wishes))
    for waveform, pcm in zip(alone, together, strict=True):
        np.testing.assert_allclose(to_waveform(pcm), waveform, atol=PCM_TOLERANCE)
    assert not np.array_equal(alone[0], alone[1][: len(alone[0])])
    assert len(alone[2]) < len(alone[0]) < len(alone[3])
    assert await pcm_of(voice, TEXT, voice="alloy") == await pcm_of(voice, TEXT, voice="anna")
    voice.close()


async def test_a_caller_who_leaves_is_taken_out_of_the_queue(folder: Path) -> None:
    voice = CoquiVits(folder, device="cpu", max_batch=1)
    alone = await pcm_of(voice, coqui_models.TEXTS[0])
    staying = asyncio.create_task(pcm_of(voice, coqui_models.TEXTS[0]))
    leaving = [asyncio.create_task(pcm_of(voice, text)) for text in coqui_models.TEXTS[1:]]
    await asyncio.sleep(0)
    for task in leaving:
        task.cancel()
    assert await staying == alone
    await asyncio.gather(*leaving, return_exceptions=True)
    assert (await voice.health()).detail["replies"] == 0
    voice.close()


async def test_a_failing_network_is_a_typed_error_and_the_worker_lives(folder: Path) -> None:
    voice = CoquiVits(folder, device="cpu")
    right = voice._network.speak

    def fail(_: object) -> list[object]:
        raise RuntimeError("out of memory")

    voice._network.speak = fail  # type: ignore[assignment,method-assign]
    with pytest.raises(WorkerError, match="network failed: out of memory"):
        await pcm_of(voice, TEXT)
    voice._network.speak = right  # type: ignore[method-assign]
    assert await pcm_of(voice, TEXT)
    voice.close()


async def test_a_voice_of_the_mms_project_speaks(tmp_path: Path) -> None:
    voice = CoquiVits(coqui_models.mms(tmp_path / "voice"), device="cpu")
    assert voice.sample_rate == 16_000
    assert len(await pcm_of(voice, "Hello there.")) > 16_000 // 10
    voice.close()


def test_a_folder_that_is_no_voice_is_refused(tmp_path: Path, folder: Path) -> None:
    with pytest.raises(PackError, match=r"config\.json cannot be read"):
        CoquiVits(tmp_path)
    (tmp_path / "config.json").write_text('{"model": "tacotron"}')
    with pytest.raises(PackError, match="model is 'tacotron', expected 'vits'"):
        CoquiVits(tmp_path)
    evil = '{"model": "vits", "model_args": {}, "characters": {"characters_class": "subprocess.Popen"}}'
    (tmp_path / "config.json").write_text(evil)
    with pytest.raises(PackError, match=r"characters_class is 'subprocess\.Popen'"):
        CoquiVits(tmp_path)
    (tmp_path / "config.json").write_bytes((folder / "config.json").read_bytes())
    (tmp_path / "model.pth").write_bytes(b"a pickle")
    with pytest.raises(PackError, match=r"model\.pth.*coqui_convert"):
        CoquiVits(tmp_path)
    (tmp_path / "model.pth").unlink()
    (tmp_path / "model.safetensors").write_bytes(b"nothing")
    with pytest.raises(PackError, match=r"model\.safetensors cannot be loaded"):
        CoquiVits(tmp_path)


def test_weights_of_another_shape_are_refused(tmp_path: Path, folder: Path) -> None:
    other = coqui_models.vits(tmp_path / "voice", num_layers_flow=3)
    (other / "model.safetensors").write_bytes((folder / "model.safetensors").read_bytes())
    with pytest.raises(PackError, match="does not fit"):
        CoquiVits(other)
    with pytest.raises(PackError, match="no speaker 'nobody'"):
        CoquiVits(coqui_models.vits(tmp_path / "two", ("anna", "ben")), names=("nobody",))
