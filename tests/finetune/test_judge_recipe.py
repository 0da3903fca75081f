"""The judge recipe on words that are tones: pinned numbers, kill -9 and resume, an export that judges, refusals."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from app import REPOSITORY
from finetune import checkpoint, config
from finetune.data.errors import DataError
from finetune.data_of_run import utterances
from finetune.errors import ParityError, RunError
from finetune.evaluate import ctc_judge
from finetune.evaluate.judge import ctc_judge as judge_in
from finetune.judge_network import JudgeNetwork, features, heard, text_of
from finetune.recipes import judge
from finetune.recipes.judge_batches import label, stretched, usable
from finetune.recipes.recognizer_clips import pcm_of
from tests.finetune.data.samples import utterance
from tests.finetune.tiny_whisper import write_data

TINY = REPOSITORY / "finetune/configs/judge_tiny.yaml"
SMALL = ("width=32", "layers=6", "rows=4", "dropout=0", "training.warm_up_steps=0")
SHORT = (*SMALL, "training.steps=6", "training.evaluate_every=3", "training.save_every=2", "training.log_every=1")
LEARNT = (*SMALL, "training.steps=150", "training.evaluate_every=150", "training.save_every=150",
    "training.learning_rate=4e-3", "spec_augment=0", "warped=0")  # fmt: skip


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    torch.set_num_threads(1)
    return write_data(tmp_path_factory.mktemp("judge"))


@pytest.fixture(scope="module")
def learnt(data: Path) -> Path:
    """A run that has learnt its words, exported."""
    judge.run(of(data, data.parent / "learnt", *LEARNT))
    return data.parent / "learnt"


def of(data: Path, run: Path, *overrides: str) -> judge.Config:
    return config.load(judge.Config, TINY, [f"run={run}", f"data=[{data}]", *overrides])


def losses(run: Path) -> list[float]:
    rows = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    return [row["loss"] for row in rows if "gradient_norm" in row]


def test_a_few_steps_give_these_numbers_also_after_kill_9(data: Path, tmp_path: Path) -> None:
    judge.run(of(data, tmp_path / "unbroken", *SHORT))
    assert losses(tmp_path / "unbroken") == pytest.approx(
        [5.60216, 3.19943, 2.70446, 2.92015, 2.40168, 2.59673], rel=2e-3
    )
    command = [sys.executable, "-m", "tests.finetune.tiny_judge", "5", f"run={tmp_path / 'killed'}", f"data=[{data}]"]
    assert subprocess.run([*command, *SHORT], cwd=REPOSITORY, capture_output=True).returncode == -9
    assert checkpoint.load(tmp_path / "killed/checkpoint.pt")["progress"]["step"] == 4
    judge.run(of(data, tmp_path / "killed", *SHORT), resume=True)
    assert losses(tmp_path / "killed")[-2:] == losses(tmp_path / "unbroken")[-2:]
    ours, theirs = (load_file(tmp_path / name / "export/judge" / ctc_judge.WEIGHTS) for name in ("unbroken", "killed"))
    assert all(torch.equal(ours[name], theirs[name]) for name in ours)


async def test_what_is_exported_hears_as_the_trainer_and_says_whom_it_heard(data: Path, learnt: Path) -> None:
    found = json.loads((learnt / "facts.json").read_text())
    assert found["best_on_dev"] < 0.4
    assert found["parity"] == {"judge": {"clips": 8, "same": 8, "ties": 0, "refused": 0, "limit": 0.0}}
    given = judge_in(learnt)
    assert given is not None
    assert (given.name, given.language) == ("CTC judge learnt", "de")
    assert (given.training["seed"], given.training["speakers"]) == (2, ["anna"])
    assert list(given.training["data"]) == [str(data)]
    recognizer = given.load()
    facts, network = ctc_judge.load(learnt / "export/judge")
    assert (await recognizer.health()).model == "learnt"
    for row in utterances([str(data)], of(data, learnt).training).dev:
        recognition = await recognizer.start(language="de")
        recognition.feed(pcm_of(row))
        assert [text async for text in recognition.hypotheses()] == []
        assert (await recognition.finish()).text == heard(network, features(pcm_of(row)), facts.letters)
    dropped = await recognizer.start()
    await dropped.abort()


def test_an_export_that_hears_otherwise_is_taken_back(
    data: Path, learnt: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write = ctc_judge.write

    def damaged(folder: Path, *given: object) -> None:
        """One matrix with another sign."""
        write(folder, *given)  # type: ignore[arg-type]
        weights = load_file(folder / ctc_judge.WEIGHTS)
        save_file({**weights, "write.weight": -weights["write.weight"]}, folder / ctc_judge.WEIGHTS)

    monkeypatch.setattr(judge, "write", damaged)
    with pytest.raises(ParityError, match="judge: 8 of 8 clips are heard otherwise, expected none"):
        judge.run(of(data, learnt, *LEARNT), resume=True)
    assert ctc_judge.folder_of(learnt) is None


def test_what_is_no_judge_is_refused(tmp_path: Path, data: Path) -> None:
    assert judge_in(tmp_path) is None
    (tmp_path / "judge.json").write_text('{"format": 2}')
    with pytest.raises(RunError, match="got format 2, expected 1"):
        judge_in(tmp_path)
    (tmp_path / "judge.json").write_text('{"format": 1, "width": 3}')
    with pytest.raises(RunError, match="is no judge's, expected what parley finetune judge writes"):
        judge_in(tmp_path)
    facts = ctc_judge.Facts("judge", "de", "ab", 8, 1, {})
    ctc_judge.write(tmp_path, JudgeNetwork(3, 8, 1), facts)
    with pytest.raises(RunError, match=r"does not fit judge\.json, expected weights of that size"):
        ctc_judge.load(tmp_path)
    mute = write_data(tmp_path / "mute", ["", ""])
    with pytest.raises(DataError, match="got no clip of split train that can be learnt"):
        judge.run(of(mute, tmp_path / "run"))
    with pytest.raises(ValueError, match=r"warped: got 2\.0, expected 0 to 1"):
        judge.Config("run", (str(data),), of(data, tmp_path).training, warped=2.0)


def test_clips_that_ctc_cannot_learn_are_left_out(capsys: pytest.CaptureFixture[str]) -> None:
    rows = [
        utterance("fits", text="Aha, 3!", language="de", duration_s=1.0),
        utterance("fast", text="aha drei " * 9, language="de", duration_s=1.0),
        utterance("long", text="aha", language="de", duration_s=30.0),
        utterance("foreign", text="øre", language="de", duration_s=1.0),
    ]
    assert label(rows[0]) == "aha drei"
    assert [row.id for row in usable(rows, " adehir")] == ["fits"]
    assert "3 of 4 clips left out" in capsys.readouterr().out


def test_letters_are_written_once_unless_a_blank_is_between_them() -> None:
    states = torch.tensor([0, 1, 1, 0, 1, 3, 3, 2, 0])
    assert text_of(torch.nn.functional.one_hot(states, 4).float(), "ab ") == "aa b"


def test_stretching_moves_bands_and_nothing_else() -> None:
    mel = np.repeat(np.arange(10, dtype=np.float32)[:, None], 3, axis=1)
    assert np.array_equal(stretched(mel, 1.0), mel)
    assert stretched(mel, 1.1)[:, 0].tolist() == pytest.approx([0, 1.1, 2.2, 3.3, 4.4, 5.5, 6.6, 7.7, 8.8, 9])
