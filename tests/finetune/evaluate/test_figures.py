"""Figures of made-up measurements: gates of old languages and of slices, tool calls, judge."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

from finetune.evaluate.cases import Clip
from finetune.evaluate.figures import figures, round_trip
from finetune.evaluate.judge import POCKETSPHINX
from finetune.evaluate.listening import Heard
from finetune.evaluate.measure import Measured
from finetune.evaluate.replying import Replied, canonical
from finetune.evaluate.speaking import Spoken, Turn
from tests.finetune.data.samples import utterance
from tests.packs import SCRIPTED

TEXT = "one two three four five six seven eight nine ten"


def clip(name: str, language: str, speaker: str) -> Clip:
    """Ten words."""
    return Clip(utterance(name, text=TEXT, language=language, speaker=speaker), Path("none"))


def measured(heard: list[str], **fields: object) -> Measured:
    """A pack that heard these."""
    texts = tuple(Heard(text, 2.0, 100.0, {"length": "2 to 5 s"}) for text in heard)
    pack = dataclasses.replace(SCRIPTED, language="de")
    return dataclasses.replace(Measured(pack, texts, (), (), (), POCKETSPHINX, ()), **fields)  # type: ignore[arg-type]


CLIPS = [
    clip(f"{language}{speaker}{i}", language, speaker)
    for language in ("de", "en")
    for speaker in "ab"
    for i in range(6)
]
WRONG = TEXT.replace("ten", "then")


def test_an_old_language_and_a_slice_that_got_worse_miss_their_gates() -> None:
    better = measured([TEXT] * 6 + [WRONG] * 6 + [TEXT] * 6 + [WRONG] * 6)
    before = measured([WRONG] * 12 + [TEXT] * 12)
    rows, slices = figures(CLIPS, better, before)
    found = {row["metric"]: row for row in rows}
    assert (found["wer_de"]["value"], found["wer_de"]["n"], found["wer_de"]["interval"]) == (0.05, 120, [0.0, 0.1])
    assert (found["wer_de_change"]["value"], found["wer_de_change"]["gate"]) == (-0.05, None)
    old = found["old_language_wer_en_change"]
    assert (old["value"], old["gate"], old["passed"]) == (0.05, {"op": "<=", "value": 0.01}, False)
    assert "scripted@1, paired; 2 speakers, interval by speaker" in old["note"]
    worst = found["worst_slice_wer_de"]
    assert (worst["value"], worst["n"]) == (0.1, 60)
    assert worst["note"].startswith("speaker: b; interval by item, no speaker generalisation measured")
    lost = found["worst_slice_wer_en_change"]
    assert (lost["value"], lost["passed"], lost["note"].partition(";")[0]) == (0.1, False, "speaker: b")
    assert found["worst_slice_wer_de_change"]["passed"] is True
    assert {one.name for one in slices} == {"speaker: a", "speaker: b"}


def test_old_data_of_the_same_language_has_figures_and_a_gate_of_its_own() -> None:
    clips = [dataclasses.replace(clip, old=clip.row.language == "en") for clip in CLIPS]
    clips = [dataclasses.replace(one, row=dataclasses.replace(one.row, language="de")) for one in clips]
    rows, slices = figures(clips, measured([TEXT] * 18 + [WRONG] * 6), measured([TEXT] * 24))
    found = {row["metric"]: row for row in rows}
    assert (found["wer_de"]["value"], found["old_data_wer_de"]["value"]) == (0, 0.05)
    assert found["wer_de_change"]["gate"] is None
    assert (found["old_data_wer_de_change"]["value"], found["old_data_wer_de_change"]["passed"]) == (0.05, False)
    assert found["old_data_worst_slice_wer_de_change"]["note"].startswith("speaker: b; less that of scripted@1")
    assert {one.language for one in slices} == {"de", "de (old data)"}
    assert [clip.is_own("de-AT") for clip in clips] == [True] * 12 + [False] * 12


def test_without_another_pack_there_are_no_gates() -> None:
    rows, _ = figures(CLIPS, measured([TEXT] * 24), None)
    assert all(row["gate"] is None for row in rows)
    assert all(row["n"] and len(row["interval"]) == 2 for row in rows)


def reply(gold_calls: tuple[str, ...], calls: tuple[str, ...], **fields: object) -> Replied:
    """One turn."""
    turn = Replied("d", "de", "set a timer", True, "Yes.", gold_calls, "Yes.", calls, 2.0, 4)
    return dataclasses.replace(turn, **fields)  # type: ignore[arg-type]


def test_calls_are_exact_or_not_and_needless_ones_are_counted() -> None:
    five = canonical({"function": {"name": "set_timer", "arguments": '{"unit": "minutes", "amount": 5}'}})
    same = canonical({"function": {"name": "set_timer", "arguments": {"amount": 5, "unit": "minutes"}}})
    six = canonical({"function": {"name": "set_timer", "arguments": '{"unit": "minutes", "amount": 6}'}})
    assert five == same
    assert canonical({"function": {"name": "x", "arguments": "{broken"}}) == "x {broken"
    replied = (
        reply((five,), (same,)), reply((five,), (six,)), reply((), (six,)), reply((), ()),
        reply((), (), served=False, text="No.", dialogue="e"),
    )  # fmt: skip
    rows, _ = figures(CLIPS, measured([TEXT] * 24, replied=replied), None)
    found = {row["metric"]: row for row in rows}
    assert (found["exact_tool_calls"]["value"], found["exact_tool_calls"]["n"]) == (0.5, 2)
    assert (found["needless_tool_calls"]["value"], found["needless_tool_calls"]["n"]) == (0.5, 2)
    assert (found["chrf"]["value"], found["chrf"]["n"]) == (100, 4)
    assert found["chrf_typed"]["value"] < 50
    assert (found["gold_reply_nll"]["value"], found["gold_reply_nll"]["n"]) == (0.5, 16)


def test_replies_in_an_old_language_have_a_gate_of_their_own() -> None:
    mine = (reply((), ()), reply((), (), language="en-US", nats=3.0))
    theirs = (reply((), ()), reply((), (), language="en-US", nats=2.0))
    rows, _ = figures(CLIPS, measured([TEXT] * 24, replied=mine), measured([TEXT] * 24, replied=theirs))
    found = {row["metric"]: row for row in rows}
    assert (found["gold_reply_nll"]["value"], found["gold_reply_nll_change"]["gate"]) == (0.5, None)
    assert found["old_language_en_gold_reply_nll"]["value"] == 0.75
    old = found["old_language_en_gold_reply_nll_change"]
    assert (old["value"], old["gate"], old["passed"]) == (0.25, {"op": "<=", "value": 0.1}, False)


def test_the_voice_is_judged_where_there_is_a_judge() -> None:
    def spoken(heard: str | None) -> Spoken:
        return Spoken("It's 5 PM.", heard, 20.0, 2.0, 0.1)

    assert round_trip(measured([], spoken=(spoken(None),))) == []
    english = dataclasses.replace(SCRIPTED, language="en-GB")
    turns = (Turn("Yes.", 50.0),) * 11 + (Turn("", None),)
    mine = measured([TEXT] * 24, spoken=(spoken("its five p m"), spoken("its nine p m")), turns=turns, pack=english)
    found = {row["metric"]: row for row in figures(CLIPS, mine, None)[0] if row["part"] in ("voice", "cascade")}
    assert found["round_trip_cer"]["value"] == pytest.approx(2 / 18, abs=1e-4)
    assert "judge: PocketSphinx" in found["round_trip_cer"]["note"]
    assert "judge_cer_of_recordings" not in found
    heard = dataclasses.replace(mine.heard[0], text=WRONG)
    controlled = dataclasses.replace(mine, control=((CLIPS[0], heard),))
    own = next(row for row in figures(CLIPS, controlled, None)[0] if row["metric"] == "judge_cer_of_recordings")
    assert (own["value"], own["n"], own["part"]) == (pytest.approx(1 / 39, abs=1e-4), 39, "voice")
    assert found["real_time_factor_median"]["value"] == pytest.approx(0.05)
    assert found["first_audio_median"]["value"] == 150.0
    assert found["audible_replies"]["value"] == pytest.approx(11 / 12, abs=1e-4)
