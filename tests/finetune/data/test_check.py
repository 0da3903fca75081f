"""Every fault is found at once, in a page that stands alone; what was measured is not measured again."""

from __future__ import annotations

import dataclasses
import json
import os
import re
from pathlib import Path

import numpy as np
import pytest
import soundfile

from app import REPOSITORY
from finetune.data import hearing
from finetune.data.command import main
from finetune.data.faults import find
from finetune.data.kept import Kept
from finetune.data.manifest import write_manifest
from finetune.data.measured import Measurement, measure
from tests.finetune.data.samples import RATE, dataset, tone, utterance, write_tone


def faulty(folder: Path) -> Path:
    """One row for each kind of fault, among two good ones."""
    rows = [utterance(name) for name in ("good", "other", "unreadable", "clipped", "silent", "slow", "copy", "short")]
    rows += [utterance("mute", text=" "), utterance("long", duration_s=31.0), utterance("wrong", duration_s=3.0)]
    rows += [utterance("nobody", licence="", consent=""), utterance("again", text=rows[0].text)]
    rows += [utterance("left", split="train"), utterance("right", split="test")]
    manifest = dataset(folder, rows)
    audio = folder / "audio"
    (audio / "unreadable.wav").write_bytes(b"no audio")
    soundfile.write(audio / "clipped.wav", np.clip(4 * tone("clipped", level=1.0), -1, 1), RATE)
    soundfile.write(audio / "silent.wav", 1e-4 * tone("silent"), RATE)
    write_tone(audio / "slow.wav", rate=8000)
    write_tone(audio / "copy.wav", "good")
    write_tone(audio / "short.wav", seconds=0.1)
    write_tone(audio / "wrong.wav", seconds=1.0)
    return manifest


def test_all_faults_are_listed_and_the_page_stands_alone(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    manifest = faulty(tmp_path)
    assert main(["check", str(manifest)]) == 1
    report = json.loads((tmp_path / "check" / "check.json").read_text())
    found = {(fault["kind"], fault["id"]) for fault in report["found"]}
    assert found >= {
        ("unreadable", "unreadable"), ("clipped", "clipped"), ("silent", "silent"), ("rate", "slow"),
        ("duplicate audio", "copy"), ("too short", "short"), ("empty text", "mute"), ("too long", "long"),
        ("duration", "wrong"), ("licence missing", "nobody"), ("consent missing", "nobody"),
        ("duplicate text", "again"), ("leakage", ""),
    }  # fmt: skip
    assert not {kind for kind, id in found if id in ("good", "other")}
    assert report["faults"] + report["warnings"] == len(report["found"])
    said = capsys.readouterr().out
    assert "fault: unreadable, 1 times; for instance unreadable:" in said
    html = (tmp_path / "check" / "check.html").read_text()
    assert 'src="data:audio/mpeg;base64,' in html
    assert html.count('src="data:image/svg+xml;base64,') == 6
    assert not re.findall(r'(?:src|href)="(?!data:)', html)
    assert not re.search(r"https?://", html)


def test_good_data_passes(tmp_path: Path) -> None:
    assert main(["check", str(dataset(tmp_path, [utterance("a"), utterance("b")]))]) == 0


def test_recordings_without_any_text_are_no_fault_even_long_ones(tmp_path: Path) -> None:
    rows = [utterance("a", text="", duration_s=31.0), utterance("b", text="")]
    assert main(["check", str(dataset(tmp_path, rows))]) == 0


def test_text_and_audio_that_do_not_belong_together_stand_out() -> None:
    rows = [utterance(f"r{i}", text="a usual sentence" + " it is" * (i % 2)) for i in range(30)]
    rows.append(dataclasses.replace(rows[0], id="odd", text="very many words " * 10))
    sounds = [Measurement(str(i), 1.0, 16000, 1, 0.5, -20.0, 0.0, 1.0) for i in range(31)]
    found = [fault for fault in find(rows, sounds) if fault.kind == "speaking rate"]
    assert [fault.id for fault in found] == ["odd"]
    assert "words are missing in the audio" in found[0].message


def test_one_speaker_in_every_split_is_a_warning_and_one_of_several_a_fault() -> None:
    rows = [utterance("a", split="train"), utterance("b", split="test"), utterance("c", split="dev")]
    sounds = [Measurement(row.id, 1.0, 16000, 1, 0.5, -20.0, 0.0, 1.0) for row in rows]
    assert [fault.is_warning for fault in find(rows, sounds)] == [True]
    rows[2] = dataclasses.replace(rows[2], speaker="two")
    assert [(fault.kind, fault.is_warning) for fault in find(rows, sounds)] == [("leakage", False)]


def test_suspected_labels_are_ranked_and_no_fault() -> None:
    rows = [utterance(f"r{i}") for i in range(10)]
    sounds = [Measurement(str(i), 1.0, 16000, 1, 0.5, -20.0, 0.0, 1.0) for i in range(10)]
    found = find(rows, sounds, disagreement=[0.1] * 8 + [0.7, 0.9])
    suspects = [fault for fault in found if fault.kind == "suspected label"]
    assert [fault.id for fault in suspects] == ["r9", "r8"]
    assert all(fault.is_warning for fault in suspects)


def test_disagreement_is_of_letters() -> None:
    assert hearing.disagreement("Good morning!", "good morning") == 0.0
    assert hearing.disagreement("abcd", "abxd") == 0.25
    assert hearing.disagreement("ab", "something else") == 1.0
    assert hearing.disagreement("", "words") == 1.0


def test_an_interrupted_check_goes_on(tmp_path: Path) -> None:
    rows = [utterance("a"), utterance("b")]
    manifest = dataset(tmp_path, rows)
    main(["check", str(manifest)])
    kept = tmp_path / ".measured.jsonl"
    first, second = (line for line in kept.read_text().splitlines() if line)
    changed = json.loads(first)
    changed["value"]["rate"] = 8000  # as if another had been measured: proves that it is not measured again
    kept.write_text(json.dumps(changed) + "\n" + second[: len(second) // 2])
    assert main(["check", str(manifest)]) == 1
    report = json.loads((tmp_path / "check" / "check.json").read_text())
    assert [(fault["kind"], fault["id"]) for fault in report["found"]] == [("rate", "a")]
    with Kept(kept) as after:
        assert after.get(json.loads(second)["key"]) == json.loads(second)["value"]


def test_a_part_of_a_file_is_measured_alone(tmp_path: Path) -> None:
    path = tmp_path / "two.wav"
    soundfile.write(path, np.concatenate([tone("x"), tone("y", 2.0)]), RATE)
    soundfile.write(tmp_path / "y.wav", tone("y", 2.0), RATE)
    part, whole = measure(path.read_bytes(), 1.0, 3.0), measure((tmp_path / "y.wav").read_bytes())
    assert part == whole
    assert measure(path.read_bytes(), 4.0).fault


def test_a_recognizer_without_the_language_is_asked_without_naming_it(tmp_path: Path) -> None:
    manifest = dataset(tmp_path, [utterance("a", language="gd")])
    assert (
        main(
            [
                "check",
                str(manifest),
                "--pack",
                str(REPOSITORY / "models" / "packs" / "en-starter"),
                "--listen",
                "whisper",
            ]
        )
        == 0
    )
    assert set(json.loads((tmp_path / "check" / "check.json").read_text())["heard"]) == {"a"}


def test_a_base_recognizer_ranks_a_swapped_label_first(tmp_path: Path) -> None:
    """Real speech, PocketSphinx: the text of one recording is another's."""
    data = os.environ.get("PARLEY_DATA")
    if not data:
        pytest.skip("PARLEY_DATA is not set: no recordings of people")
    lines = (Path(data) / "speech" / "manifest.jsonl").read_text().splitlines()
    clips = [clip for clip in map(json.loads, lines) if clip["subset"] == "sentences_en"][:4]
    rows = []
    for clip in clips:
        copy = tmp_path / f"{clip['id']}.flac"
        copy.write_bytes((Path(data) / "speech" / clip["audio"]).read_bytes())
        rows.append(utterance(clip["id"], audio=copy.name, text=clip["text"], duration_s=clip["duration_s"]))
    rows[2] = dataclasses.replace(rows[2], text="nothing of this was ever spoken by her")
    write_manifest(tmp_path / "manifest.jsonl", rows)
    arguments = [
        "check",
        str(tmp_path / "manifest.jsonl"),
        "--pack",
        str(REPOSITORY / "models" / "packs" / "en-starter"),
    ]
    main([*arguments, "--listen", "pocketsphinx"])
    heard = json.loads((tmp_path / "check" / "check.json").read_text())["heard"]
    assert max(heard, key=lambda id: heard[id][1]) == rows[2].id
