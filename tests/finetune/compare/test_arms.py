"""Arms as configurations: equal seconds, shared data, stages and edges of each."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

from finetune import config as configs
from finetune.compare import arms
from finetune.compare.command import waves_of
from finetune.compare.config import Config
from finetune.errors import ConfigError
from finetune.recipes import joint_config
from finetune.recipes.joint_unpaired import recordings

STARTER = "models/packs/en-starter"


def config(*overrides: str) -> Config:
    bases = [f"joint.{model}.base={STARTER}" for model in ("recognizer", "language", "voice")]
    return configs.load(Config, Path("finetune/configs/compare.yaml"), [*bases, *overrides])


def recipe(arm: str, made: Config | None = None) -> joint_config.Config:
    return arms.recipe(made or config(), arm, "small", 2, Path("run"))


def budgets(made: joint_config.Config) -> list[float]:
    trainings = [
        made.recognizer.training, made.language.training, made.voice.training, made.voice.vocoder,
        *(stage for stage in (made.noisy, made.joint, made.finish) if stage),
    ]  # fmt: skip
    assert {training.seed for training in trainings} == {2}
    assert {training.threads for training in trainings} == {1}
    return [training.budget_seconds or 0.0 for training in trainings]


@pytest.mark.parametrize("arm", [arm for arm in config().compared if arm != "base"])
def test_every_arm_has_the_same_seconds(arm: str) -> None:
    assert sum(budgets(recipe(arm))) == pytest.approx(config().seconds)


def test_what_the_arms_do() -> None:
    separate, shared, noisy, joint = map(recipe, ("separate", "shared", "noisy", "joint"))
    assert [one.voice_clips for one in (separate, shared, noisy, joint)] == [False, True, True, True]
    assert [one.rung for one in (separate, shared, noisy, joint)] == ["staged", "staged", "every", "every"]
    assert recipe("joint", config("joint.rung=auto")).rung == "full"
    assert (noisy.noisy is not None, noisy.joint, noisy.finish) == (True, None, None)
    assert all((joint.noisy, joint.joint))
    assert joint.finish is None  # absent in the configuration


def test_an_edge_less() -> None:
    assert config().compared[5:] == tuple(
        f"joint-without-{edge}" for edge in ("chain", "transcript", "reply_to_voice", "agreement")
    )
    joint = recipe("joint")
    without = recipe("joint-without-chain")
    assert without.edges == dataclasses.replace(joint.edges, chain=without.edges.chain)
    assert (without.edges.chain.weight, joint.edges.chain.weight) == (0.0, 0.03)
    spoken = recipe("joint-without-transcript")
    assert (spoken.edges.transcript.weight, spoken.edges.agreement) == (0.0, 0.0)
    assert recipe("joint-without-agreement").edges.agreement == 0.0
    heard = config("joint.unpaired=[calls.jsonl]", "joint.edges.unpaired.weight=0.3")
    assert "joint-without-unpaired" in heard.compared
    assert recipe("joint", heard).edges.unpaired.weight == 0.3
    assert recordings(recipe("joint-without-unpaired", heard)) is None


def test_recordings_are_without_texts_only_where_their_texts_are_not_learnt() -> None:
    large = config().sizes["large"].recognizer
    made = config(f"joint.unpaired=[{large[0]}]", "joint.edges.unpaired.weight=1")
    assert recipe("joint", made).unpaired == large
    known = arms.recipe(made, "joint", "large", 2, Path("run"))
    assert (known.unpaired, known.edges.unpaired.weight) == ((), 0.0)
    cells = [(size, arm) for wave in waves_of(made) for size, arm, _ in wave]
    assert ("small", "joint-without-unpaired") in cells
    assert ("large", "joint-without-unpaired") not in cells
    assert ("large", "joint-without-chain") in cells


def test_joint_arms_begin_with_the_same_first_stage() -> None:
    first = recipe(arms.FIRST)
    for arm in ("joint", "joint-without-chain"):
        own = recipe(arm)
        assert (own.recognizer, own.language, own.voice) == (first.recognizer, first.language, first.voice)
        assert own.voice_clips == first.voice_clips
    assert first.rung == "staged"


def test_refusals() -> None:
    with pytest.raises(ConfigError, match=r"recognizer, language, vocoder, voice: got 1\.3 together, expected 1"):
        config("shares={recognizer: 0.75}")
    with pytest.raises(ConfigError, match=r"noisy, joint, finish: got 1\.15, expected less than 1"):
        config("shares={joint: 1.0}")
    with pytest.raises(ConfigError, match=r"seeds: got .*, expected one or more, none twice"):
        config("seeds=[1, 1]")
    with pytest.raises(ConfigError, match="seconds, at_once, sizes: expected more than 0"):
        config("seconds=0")
