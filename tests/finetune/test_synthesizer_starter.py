"""The starter's kind of voice in another language: pinned numbers, kill -9 and resume, exports that speak, refusals."""

from __future__ import annotations

import asyncio
import copy
import dataclasses
import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from app import REPOSITORY
from app.errors import UnknownModel
from app.pack_build import build
from app.pronounce import PHONES
from app.workers.voice import OnnxVoice
from finetune import checkpoint, config
from finetune.command import main
from finetune.data.errors import DataError
from finetune.data.manifest import read_utterances, write_manifest
from finetune.data.rows import Pronunciation, Utterance
from finetune.data.spelling import voice as speller
from finetune.errors import ConfigError, ParityError
from finetune.recipes import synthesizer, synthesizer_starter, synthesizer_starter_export
from finetune.recipes.synthesizer_starter_data import reading_of
from finetune.starter import voice_export
from finetune.starter.voice_acoustic import Acoustic
from finetune.starter.voice_restore import restored
from finetune.starter.voice_vocoder import HARMONIC_CEPSTRA, FilterNetwork
from tests.finetune.tiny_voice import TINY, write_data

STARTER = REPOSITORY / "models/packs/en-starter"


@dataclasses.dataclass(frozen=True)
class Place:
    """A folder with a tiny dataset."""

    folder: Path
    data: Path

    def config(self, name: str, *others: str) -> synthesizer_starter.Config:
        return config.load(synthesizer_starter.Config, TINY, self.overrides(name, *others))

    def overrides(self, name: str, *others: str) -> list[str]:
        return [f"run={self.folder / name}", f"data=[{self.data}]", *others]

    def rows(self, change: Callable[[Utterance], Utterance] = lambda row: row) -> list[Utterance]:
        return [change(row) for row in read_utterances(self.data)]


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Place:
    torch.set_num_threads(1)
    folder = tmp_path_factory.mktemp("voice")
    return Place(folder, write_data(folder / "data"))


@pytest.fixture(scope="module")
def trained(place: Place) -> Path:
    """A run of a few steps, exported."""
    synthesizer.run(place.config("unbroken"))
    return place.folder / "unbroken"


def dev_losses(run: Path) -> list[float]:
    rows = [json.loads(line) for part in ("vocoder", ".") for line in (run / part / "metrics.jsonl").open()]
    return [row["dev_loss"] for row in rows if "dev_loss" in row]


async def spoken(engine: OnnxVoice, text: str, voice: str = "") -> tuple[bytes, list[int]]:
    """Samples, and the characters at which words end."""
    chunks = [chunk async for chunk in engine.speak(text, voice=voice)]
    return b"".join(chunk.pcm for chunk in chunks), [c for chunk in chunks for c, _ in chunk.marks]


def test_a_few_steps_give_these_numbers_also_after_kill_9(place: Place, trained: Path) -> None:
    assert dev_losses(trained) == pytest.approx([2.3473, 2.3080, 3.0398, 2.9555], rel=5e-3)
    command = [sys.executable, "-m", "tests.finetune.tiny_voice", "5", *place.overrides("killed")]
    assert subprocess.run(command, cwd=REPOSITORY, capture_output=True).returncode == -9
    killed = place.folder / "killed"
    assert checkpoint.load(killed / "checkpoint.pt")["progress"]["step"] == 4
    synthesizer.run(place.config("killed"), resume=True)
    assert dev_losses(killed) == dev_losses(trained)
    for name in ("encoder.onnx", "decoder.onnx", "voice.json"):
        assert (killed / "export/voice" / name).read_bytes() == (trained / "export/voice" / name).read_bytes()


def test_the_export_speaks_german_with_both_voices(trained: Path) -> None:
    facts = json.loads((trained / "facts.json").read_text())
    assert facts["parity"] == {"voice": {"clips": 2, "same": 2, "ties": 0, "refused": 0, "limit": 0.0}}
    assert facts["parity_nats"] < 0.01
    assert facts["settings"] == {"engine": "onnx", "names": ["anna", "bernd"], "sample_rate": 24_000}
    assert facts["steps"] == 6
    assert sorted(path.name for path in (trained / "samples").iterdir()) == ["clip-24.wav", "clip-26.wav", "mel.png"]
    engine = OnnxVoice(trained / "export/voice")
    text = "Um 7 Uhr: 3 Äpfel."
    pcm, ends = asyncio.run(spoken(engine, text))
    assert [text[:end].split()[-1] for end in ends] == ["Um", "Uhr", "3", "Äpfel"]
    letters = sum(len(word) for word in ("um", "sieben", "uhr", "drei", "äpfel"))
    assert len(pcm) // 2 >= letters * 256
    assert asyncio.run(spoken(engine, text, "alloy"))[0] == asyncio.run(spoken(engine, text, "anna"))[0] == pcm
    assert asyncio.run(spoken(engine, text, "bernd"))[0] != pcm
    with pytest.raises(UnknownModel, match="anna, bernd"):
        asyncio.run(spoken(engine, text, "carla"))


def test_a_pack_takes_the_voice_with_its_names(trained: Path, tmp_path: Path) -> None:
    pack = build(tmp_path, "de@1", settings=STARTER, weights={"voice": trained})
    assert pack.voice.names == ("anna", "bernd")
    card = json.loads((pack.folder / "card.json").read_text())
    parity = next(row for row in card["evaluation"] if row["metric"] == "parity_voice")
    assert (parity["value"], parity["n"], parity["passed"]) == (0.0, 2, True)
    spells = speller(pack.voice_folder)
    assert spells.uncovered(["Größe 3, „ja“", "中"]) == {"中": 1}


def test_a_voice_that_sounds_otherwise_is_taken_back(
    place: Place, trained: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(acoustic: Acoustic, vocoder: FilterNetwork, *rest: Any, **named: Any) -> None:
        other = copy.deepcopy(vocoder)
        with torch.no_grad():
            other.leave.bias[HARMONIC_CEPSTRA] += 0.3  # its noise is louder by 0.3 nats
        voice_export.export(acoustic, other, *rest, **named)

    monkeypatch.setattr(synthesizer_starter_export, "write", broken)
    with pytest.raises(ParityError, match=r"sounds otherwise .*parity_nats allows 0\.1"):
        synthesizer.run(place.config("unbroken", "export.parity_texts=1"), resume=True)
    assert not (trained / "export").exists()
    monkeypatch.undo()
    synthesizer.run(place.config("unbroken"), resume=True)  # exported anew, nothing trained
    assert (trained / "export/voice/voice.json").exists()


def test_training_begins_from_the_shipped_voice(place: Place, capsys: pytest.CaptureFixture[str]) -> None:
    acoustic, _ = restored(STARTER / "voice", PHONES, 1)
    assert sum(p.numel() for p in acoustic.parameters()) == 2_238_419
    wide, _ = restored(STARTER / "voice", ("pau", "b", "ß"), 3)
    assert torch.equal(wide.phone.weight[2], acoustic.phone.weight[PHONES.index("b") + 1])
    assert torch.equal(wide.state_dict()["decoder.4.up.weight"], acoustic.state_dict()["decoder.4.up.weight"])
    assert wide.speaker is not None
    with pytest.raises(ConfigError, match="no voice of the starter's kind"):
        restored(STARTER / "language", PHONES, 1)
    words = ["synthesizer", "--config", str(TINY), *place.overrides("dry", f"base={STARTER}"), "--dry-run"]
    assert main(words) == 0
    said = capsys.readouterr().out
    assert "24 recordings, 1 minutes; voices anna, bernd; 31 symbols" in said
    assert "trained    733,680 of 733,680 parameters" in said
    assert not (place.folder / "dry").exists()


def test_phones_of_a_lexicon_are_symbols(place: Place, tmp_path: Path) -> None:
    listed = {"haus": "h aʊ s", "maus": "m aʊ s", "ja": "j a", "zwei": "ts v aɪ"}
    entries = [
        Pronunciation(word, tuple(said.split()), "ipa", "de", "made", "CC0-1.0") for word, said in listed.items()
    ]
    write_manifest(tmp_path / "lexicon.jsonl", entries)
    made = place.config("lexicon", "symbols=lexicon", f"lexicon={tmp_path / 'lexicon.jsonl'}", 'letters=""')
    rows = place.rows(lambda row: dataclasses.replace(row, text="Haus, 2 Maus"))
    reading = reading_of(made, rows)
    assert reading.front.symbols == ("pau", "a", "aɪ", "aʊ", "h", "j", "m", "s", "ts", "v")
    assert [reading.front.phones(word.word, "") for word in reading.front.words("Maus 2")] == [
        ("m", "aʊ", "s"), ("ts", "v", "aɪ"),
    ]  # fmt: skip
    with pytest.raises(DataError, match="'ß' in 29 texts"):
        reading_of(made, place.rows(lambda row: dataclasses.replace(row, text="Maß")))


def test_what_cannot_be_read_or_trained_is_refused(place: Place, capsys: pytest.CaptureFixture[str]) -> None:
    strange = place.rows(
        lambda row: dataclasses.replace(row, text=f"{row.text} 中 ⚡ π" if row.id == "clip-03" else row.text)
    )
    with pytest.raises(DataError, match=r"'⚡' in 1 texts \(first clip-03\)") as caught:
        reading_of(place.config("x"), strange)
    assert all(repr(sign) in caught.value.message for sign in "中⚡")
    with pytest.raises(DataError, match=r"'π' in 1 texts \(first said\)"):
        reading_of(place.config("x", 'said=["%=π"]'), place.rows())
    with pytest.raises(ConfigError, match="CLDR has no number words of gd, expected all ten digits"):
        reading_of(place.config("x"), place.rows(lambda row: dataclasses.replace(row, language="gd")))
    two = [dataclasses.replace(row, language=("de", "gd")[i % 2]) for i, row in enumerate(place.rows())]
    with pytest.raises(DataError, match="got rows in de, gd, expected one language"):
        reading_of(place.config("x"), two)
    for fault, message in (
        ('letters=""', "letters: got nothing"),
        ("symbols=lexicon", "lexicon: got nothing"),
        ("said=[prozent]", "said: got 'prozent'"),
    ):
        with pytest.raises(ConfigError, match=message):
            place.config("x", fault)
    with pytest.raises(ConfigError, match="speakers: carla not in the data; there are: anna, bernd"):
        synthesizer.run(place.config("x", "speakers=[carla]"))
    long = [dataclasses.replace(row, text=row.text * 9 if row.id == "clip-02" else row.text) for row in place.rows()]
    write_manifest(place.data.with_name("long.jsonl"), long)
    with pytest.raises(DataError, match=r"too short for their texts.*: clip-02 \(\d+ frames, its text needs \d+\)"):
        synthesizer.run(place.config("long", f"data=[{place.data.with_name('long.jsonl')}]"))
    config.load(synthesizer_starter.Config, REPOSITORY / "finetune/configs/synthesizer.yaml")
    assert main(["synthesizer", "--config", str(TINY), *place.overrides("x", "engine=flite")]) == 1
    assert "engine: got 'flite', expected one of starter, coqui-vits" in capsys.readouterr().err
