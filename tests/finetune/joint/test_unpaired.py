"""Recordings without texts in a joint run: what is heard in them, how sure that is, what learns from it."""

from __future__ import annotations

import dataclasses
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch

from app.audio import HEARING_RATE, to_waveform
from app.workers.whisper_windows import Asked, Windows
from finetune import config
from finetune.data.errors import DataError, LeakageError
from finetune.data.manifest import read_utterances, write_manifest
from finetune.errors import ConfigError
from finetune.joint.edges import Edge
from finetune.joint.hypotheses import log_probabilities, scores
from finetune.joint.pseudo_labels import Label, labels
from finetune.recipes import joint
from finetune.recipes.joint_config import Config, Edges
from finetune.recipes.joint_losses import Step
from finetune.recipes.joint_parts import Parts, models_of
from finetune.recipes.joint_pseudo_labels import heard, pieces
from finetune.recipes.joint_together import together
from finetune.recipes.joint_unpaired import recordings
from finetune.run import Run, open_run
from tests.finetune.joint import tiny
from tests.finetune.joint.tiny_joint import TINY, UNPAIRED, clip, overrides, write_data, write_unpaired
from tests.sounds import flite


@dataclasses.dataclass(frozen=True)
class Place:
    """Data, and recordings of other voices whose texts nobody has written down."""

    folder: Path

    def config(self, name: str, *others: str) -> Config:
        given = (f"unpaired=[{self.folder}/unpaired/manifest.jsonl]", "edges.unpaired.weight=0.5", *others)
        return config.load(Config, TINY, overrides(self.folder / name, self.folder / "data", *given))


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Place:
    torch.set_num_threads(1)
    folder = tmp_path_factory.mktemp("unpaired")
    write_data(folder / "data")
    write_unpaired(folder / "unpaired")
    return Place(folder)


@pytest.fixture(scope="module")
def parts(place: Place) -> Parts:
    """As the bases are: nothing is trained."""
    return together(joint.below(place.config("parts")), trained=())


def opened(folder: Path) -> Run:
    return open_run(folder, "joint", Edge(), data={}, seed=1, resume=True)


def test_labels_are_as_sure_as_their_tokens_in_any_company(parts: Parts) -> None:
    found = recordings(parts.config)
    assert found
    network, end = parts.recognizer.network, parts.recognizer.vocabulary.end
    cut = [pieces(row, parts.recognizer.windows)[0][1] for own in found.rows.values() for row in own]
    nobody = parts.recognizer.windows.of(b"", Asked())[0]
    stopped = dataclasses.replace(cut[0], longest=1)
    prompts = [parts.recognizer.vocabulary.prompt("en")] * 5
    made = labels(network, [*cut, nobody, stopped], prompts, 2, end)
    assert made[3:] == [Label(), Label()]
    for window, one in zip(cut, made, strict=False):
        assert labels(network, [window], prompts[:1], 1, end)[0].tokens == one.tokens
        logits = scores(network, torch.from_numpy(window.features)[None], prompts[:1], [list(one.tokens)], end)
        log = log_probabilities(logits, [list(one.tokens)], end)[0].item()
        assert one.confidence == pytest.approx(log / (len(one.tokens) + 1), abs=1e-4)


def test_what_is_heard_is_kept_and_the_less_sure_left_out(
    place: Place, parts: Parts, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    found = recordings(parts.config)
    assert found
    everything = dataclasses.replace(parts.config, least_confidence=-100.0)
    own = opened(tmp_path)
    unpaired = heard(own, found, parts.recognizer, everything)
    assert unpaired
    (learnt,) = unpaired.learnt.values()
    assert {row.text for row in learnt} <= set(UNPAIRED)  # a voice that the starter understands
    kept = json.loads((tmp_path / "pseudo_labels.json").read_text())
    assert [row["id"] for row in kept] == [row.id for row in read_utterances(place.folder / "unpaired/manifest.jsonl")]
    assert all(row["confidence"] <= 0 for row in kept)
    kept[0]["text"], kept[1]["confidence"], kept[2]["confidence"] = "said otherwise", -0.1, -2.0
    (tmp_path / "pseudo_labels.json").write_text(json.dumps(kept))
    again = heard(own, found, parts.recognizer, parts.config)  # a run that is resumed hears nothing anew
    assert again
    assert "said otherwise" in {row.text for row in next(iter(again.learnt.values()))}
    assert kept[2]["id"] not in {row.id for row in next(iter(again.learnt.values()))}
    assert "of 3 recordings, or pieces of them, are heard with a confidence of -0.2 or more" in capsys.readouterr().out
    certain = dataclasses.replace(parts.config, least_confidence=0.0)
    assert heard(own, found, parts.recognizer, certain) is None
    batch = again.batch(3)
    assert batch["texts"] == again.batch(3)["texts"]
    assert torch.equal(batch["heard"]["mels"], again.batch(3)["heard"]["mels"])


def test_gradients_reach_recognizer_and_voice_and_the_voice_only_across_the_seam(parts: Parts, tmp_path: Path) -> None:
    found = recordings(parts.config)
    assert found
    everything = dataclasses.replace(parts.config, least_confidence=-100.0)
    unpaired = heard(opened(tmp_path), found, parts.recognizer, everything)

    def reached(loss: str, detach: bool, chain: float = 0.1) -> set[str]:
        edges = Edges(unpaired=Edge(weight=0.5, detach=detach), chain=Edge(weight=chain))
        made = dataclasses.replace(parts, config=dataclasses.replace(parts.config, edges=edges), unpaired=unpaired)
        models = models_of(made)
        tiny.forget(models)
        step = Step(made, separate=(), edges=("unpaired",))
        losses = step.losses(0, step.batch(0))
        assert set(losses) == ({"unpaired_loss", "unpaired_chain_loss"} if chain else {"unpaired_loss"})
        losses[loss].backward()
        assert (step.crossings["unpaired"].norm() > 0) == ("chain" in loss and not detach)
        return {name for name, model in models.items() if tiny.norm(model.parameters()) > 0}

    assert reached("unpaired_loss", detach=False) == {"recognizer"}
    assert reached("unpaired_loss", detach=False, chain=0) == {"recognizer"}
    assert reached("unpaired_chain_loss", detach=False) == {"recognizer", "voice"}
    assert reached("unpaired_chain_loss", detach=True) == {"recognizer"}
    without = Step(dataclasses.replace(parts, unpaired=unpaired), separate=(), edges=("chain",))
    assert "unpaired" not in without.batch(0)


def test_a_long_recording_is_cut_as_it_is_served(place: Place, tmp_path: Path) -> None:
    windows = Windows(80, 40)  # of at most 8 s
    sentence = to_waveform(flite("tell me a story", rate=HEARING_RATE, voice="rms"))
    long = np.concatenate([sentence, np.zeros(8000, np.float32)] * 8)
    soundfile.write(tmp_path / "long.wav", long, HEARING_RATE)
    row = dataclasses.replace(clip(tmp_path, "good morning", "rms"), audio=str(tmp_path / "long.wav"), id="long")
    found = pieces(row, windows)
    assert len(found) > 1
    assert [one.id for one, _ in found] == [f"long-{n}" for n in range(1, len(found) + 1)]
    assert [one.start_s for one, _ in found[1:]] == [one.end_s for one, _ in found[:-1]]
    for one, window in found:
        (again,) = pieces(one, windows)
        assert again[0] == one
        assert np.array_equal(again[1].features, window.features)


def test_dev_is_never_learnt_from(place: Place, tmp_path: Path) -> None:
    assert recordings(place.config("none", "edges.unpaired.weight=0")) is None
    with pytest.raises(ConfigError, match=r"edges\.unpaired: got a weight without unpaired, expected manifests"):
        place.config("none", "unpaired=[]")
    with pytest.raises(ConfigError, match=r"least_confidence: got 0\.8, expected a logarithm, 0 or less"):
        place.config("none", "least_confidence=0.8")
    data = read_utterances(place.folder / "data/manifest.jsonl")
    dev = next(row for row in data if row.split == "dev")
    shutil.copy(place.folder / "data" / dev.audio, tmp_path / "dev.wav")
    row = dataclasses.replace(dev, audio="dev.wav", text="", split="", speaker="somebody")
    write_manifest(tmp_path / "manifest.jsonl", [row])
    with pytest.raises(LeakageError, match="unpaired: dev or test would be learnt from:\n  the same recording"):
        recordings(place.config("leaky", f"unpaired=[{tmp_path}/manifest.jsonl]"))
    write_manifest(tmp_path / "manifest.jsonl", [dataclasses.replace(row, split="dev")])
    with pytest.raises(DataError, match="unpaired: got no recording of split train, or without one"):
        recordings(place.config("empty", f"unpaired=[{tmp_path}/manifest.jsonl]"))
    found = recordings(place.config("parts"))
    assert found
    assert "my name is anna" in found.held_out  # its speakers say sentences of train, too


def test_speakers_of_dev_are_kept_apart_where_the_splits_keep_them_apart(place: Place, tmp_path: Path) -> None:
    rows = [clip(tmp_path, text, voice, split=split) for text, voice, split in (
        ("thank you", "kal16", "train"), ("hello", "slt", "dev"))]  # fmt: skip
    rows = [dataclasses.replace(row, text="hello") for row in rows]
    write_manifest(tmp_path / "paired.jsonl", rows)
    write_manifest(tmp_path / "manifest.jsonl", [clip(tmp_path, "good night", "slt")])
    given = (f"{model}.data=[{tmp_path}/paired.jsonl]" for model in ("recognizer", "voice"))
    made = place.config("apart", f"unpaired=[{tmp_path}/manifest.jsonl]", *given)
    with pytest.raises(LeakageError, match="the same speaker in two splits, 1 times: 'slt'"):
        recordings(made)


def test_recordings_in_another_language_are_refused(parts: Parts, tmp_path: Path) -> None:
    found = recordings(parts.config)
    assert found
    strange = {name: [dataclasses.replace(row, language="cy") for row in own] for name, own in found.rows.items()}
    with pytest.raises(DataError, match="unpaired: got recordings in cy, expected en"):
        heard(opened(tmp_path), dataclasses.replace(found, rows=strange), parts.recognizer, parts.config)
