"""The weights of end of turn: a regression that finds what tells the two kinds apart."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import soundfile

from app.audio import HEARING_RATE
from finetune.end_of_turn import examples, fit, main, right
from finetune.errors import TrainingError
from tests.app.test_prosody import tone


def test_the_feature_that_tells_gets_the_weight() -> None:
    chance = np.random.default_rng(0)
    ended = (chance.random(400) > 0.5).astype(float)
    features = chance.standard_normal((400, 3))
    features[:, 1] += 2 * ended
    model = fit(features, ended)
    assert model.weights[1] > 5 * max(abs(model.weights[0]), abs(model.weights[2]))
    assert right(model, features, ended) > 0.75


def test_no_speech_gives_no_weights() -> None:
    with pytest.raises(TrainingError, match="no clip with speech"):
        examples([])


def test_recordings_have_to_be_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("PARLEY_DATA", raising=False)
    with pytest.raises(TrainingError, match="PARLEY_DATA"):
        main([])


def test_weights_are_made_of_the_training_split_alone(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    voices, speech = tmp_path / "voices", tmp_path / "speech"
    rows = []
    for number in range(6):
        wave = np.concatenate([tone(150 + number, 230), np.zeros(1600, np.float32), tone(230, 140, 0.8)])
        (voices / "audio").mkdir(parents=True, exist_ok=True)
        soundfile.write(voices / "audio" / f"{number}.wav", wave, HEARING_RATE)
        row = {"audio": f"audio/{number}.wav", "text": "", "language": "en", "speaker": "kathleen", "duration_s": 2.4}
        rows.append(json.dumps({**row, "split": "train" if number < 4 else "test"}))
    (voices / "manifest.jsonl").write_text("\n".join(rows))
    speech.mkdir()
    (speech / "manifest.jsonl").write_text("")
    main(["--data", str(tmp_path), "--out", str(tmp_path / "weights.json")])
    table = json.loads((tmp_path / "weights.json").read_text())
    assert "of 8 places" in capsys.readouterr().out
    assert table["weights"][table["features"].index("pitch_end")] < 0
