"""Each speech importer on a small corpus in its real form."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import pytest

from finetune.data.errors import ManifestError
from finetune.data.importers import common_voice, folder, huggingface, kaldi, lhotse, ljspeech, recordings, shared
from tests.finetune.data.samples import write_tone


def test_common_voice(tmp_path: Path) -> None:
    header = "client_id\tpath\tsentence\tup_votes\tdown_votes\tage\tgender\taccents\tlocale\tsegment\n"
    (tmp_path / "train.tsv").write_text(
        header + 'c1\tcommon_voice_cy_1.mp3\tMae "hi yma.\t2\t0\t\tfemale\tGwynedd\tcy\t\n'
    )
    (tmp_path / "test.tsv").write_text(header + "c2\tcommon_voice_cy_2.mp3\tBore da.\t2\t0\t\t\t\tcy\t\n")
    first, second = common_voice.rows(tmp_path)
    assert first.row.text == 'Mae "hi yma.'  # a lone quote does not swallow the lines after it
    assert (first.row.speaker, first.row.gender, first.row.accent) == ("c1", "female", "Gwynedd")
    assert (first.row.split, first.row.licence, second.row.split) == ("train", "CC0-1.0", "test")
    assert first.audio == tmp_path / "clips" / "common_voice_cy_1.mp3"
    (tmp_path / "train.tsv").write_text("path\tsentence\n")
    with pytest.raises(ManifestError, match=r"train\.tsv:1: field client_id: missing"):
        list(common_voice.rows(tmp_path))
    with pytest.raises(ManifestError, match=r"expected train\.tsv or validated\.tsv"):
        list(common_voice.rows(tmp_path / "none"))


def test_ljspeech(tmp_path: Path) -> None:
    write_tone(tmp_path / "wavs" / "LJ001-0001.wav")
    (tmp_path / "metadata.csv").write_text("LJ001-0001|In 1477|In fourteen seventy-seven\nLJ001-0002|Only text\n")
    first, second = ljspeech.rows(tmp_path)
    assert (first.row.text, second.row.text) == ("In fourteen seventy-seven", "Only text")
    assert first.audio == tmp_path / "wavs" / "LJ001-0001.wav"
    (tmp_path / "metadata.csv").write_text("LJ001-0001 no bar\n")
    with pytest.raises(ManifestError, match=r"metadata\.csv:1: got 1 columns"):
        list(ljspeech.rows(tmp_path))


def test_kaldi_with_segments(tmp_path: Path) -> None:
    data = tmp_path / "data" / "train"
    data.mkdir(parents=True)
    write_tone(tmp_path / "audio" / "rec1.wav", seconds=3.0)
    (data / "wav.scp").write_text("rec1 audio/rec1.wav\n")
    (data / "text").write_text("spk1-a good morning\nspk1-b\tgood night\n")
    (data / "utt2spk").write_text("spk1-a spk1\nspk1-b spk1\n")
    (data / "segments").write_text("spk1-a rec1 0.5 1.25\nspk1-b rec1 1.5 -1\n")
    (data / "spk2gender").write_text("spk1 f\n")
    first, second = kaldi.rows(data)
    assert (first.row.start_s, first.row.end_s, first.row.duration_s) == (0.5, 1.25, 0.75)
    assert (second.row.text, second.row.end_s, second.row.gender) == ("good night", None, "f")
    assert first.audio == tmp_path / "audio" / "rec1.wav"


def test_kaldi_never_runs_a_command(tmp_path: Path) -> None:
    (tmp_path / "wav.scp").write_text(f"a touch {tmp_path / 'ran'} |\n")
    (tmp_path / "text").write_text("a hello\n")
    (tmp_path / "utt2spk").write_text("a one\n")
    with pytest.raises(ManifestError, match=r"wav\.scp:1: got a command"):
        list(kaldi.rows(tmp_path))
    assert not (tmp_path / "ran").exists()


def _lhotse(tmp_path: Path) -> tuple[dict[str, object], dict[str, object]]:
    source = {"type": "file", "channels": [0], "source": "rec.wav"}
    recording = {"id": "rec", "sources": [source], "sampling_rate": 16000, "num_samples": 48000, "duration": 3.0}
    supervision = {
        "id": "s1", "recording_id": "rec", "start": 1.0, "duration": 1.5, "channel": 0,
        "text": "hello", "language": "en", "speaker": "one", "gender": "female",
    }  # fmt: skip
    return recording, supervision


def test_lhotse_recordings_and_supervisions(tmp_path: Path) -> None:
    recording, supervision = _lhotse(tmp_path)
    with gzip.open(tmp_path / "x_recordings_all.jsonl.gz", "wt") as file:
        file.write(json.dumps(recording) + "\n")
    (tmp_path / "x_supervisions_all.jsonl").write_text(json.dumps(supervision) + "\n")
    (found,) = lhotse.rows(tmp_path)
    assert (found.row.start_s, found.row.end_s, found.row.text) == (1.0, 2.5, "hello")
    assert found.audio == tmp_path / "rec.wav"
    recording["sources"] = [{"type": "command", "channels": [0], "source": "sox"}]
    (tmp_path / "x_recordings_all.jsonl.gz").unlink()
    (tmp_path / "recordings.jsonl").write_text(json.dumps(recording) + "\n")
    with pytest.raises(ManifestError, match="expected one file of one channel"):
        list(lhotse.rows(tmp_path))


def test_lhotse_cuts_have_a_time_of_their_own(tmp_path: Path) -> None:
    recording, supervision = _lhotse(tmp_path)
    cut = {"id": "c", "start": 0.5, "duration": 2.0, "channel": 0, "type": "MonoCut", "recording": recording}
    cut["supervisions"] = [supervision | {"start": 0.25, "duration": 1.0}]
    (tmp_path / "cuts.jsonl").write_text(json.dumps(cut) + "\n")
    write_tone(tmp_path / "rec.wav")  # lhotse's paths start where its scripts were run
    (tmp_path / "manifests").mkdir()
    (tmp_path / "cuts.jsonl").rename(tmp_path / "manifests" / "cuts.jsonl")
    (found,) = lhotse.rows(tmp_path / "manifests")
    assert (found.row.start_s, found.row.end_s, found.audio) == (0.75, 1.75, tmp_path / "rec.wav")
    (tmp_path / "cuts.jsonl").write_text(json.dumps({"id": "c", "type": "MixedCut"}) + "\n")
    with pytest.raises(ManifestError, match="expected MonoCut"):
        list(lhotse.rows(tmp_path))


def test_hugging_face_saved_and_parquet(tmp_path: Path) -> None:
    import pyarrow
    import pyarrow.parquet

    sound = write_tone(tmp_path / "tone.wav").read_bytes()
    table = pyarrow.table(
        {
            "audio": [{"bytes": sound, "path": "a.wav"}, {"bytes": None, "path": "tone.wav"}],
            "sentence": ["one", "two"],
            "speaker_id": [0, 1],
        }
    )
    saved = tmp_path / "saved"
    (saved / "validation").mkdir(parents=True)
    (saved / "dataset_dict.json").write_text('{"splits": ["validation"]}')
    (saved / "validation" / "state.json").write_text('{"_data_files": [{"filename": "data-00000-of-00001.arrow"}]}')
    with (
        pyarrow.OSFile(str(saved / "validation" / "data-00000-of-00001.arrow"), "wb") as file,
        pyarrow.ipc.new_stream(file, table.schema) as stream,
    ):
        stream.write_table(table)
    first, second = huggingface.rows(saved)
    assert (first.row.text, first.row.speaker, first.row.split) == ("one", "0", "dev")
    assert first.audio == sound
    assert second.audio == saved / "tone.wav"
    (tmp_path / "hub" / "data").mkdir(parents=True)
    pyarrow.parquet.write_table(table, tmp_path / "hub" / "data" / "train-00000-of-00001.parquet")
    assert [found.row.split for found in huggingface.rows(tmp_path / "hub")] == ["train", "train"]
    pyarrow.parquet.write_table(table.drop(["sentence"]), tmp_path / "hub" / "data" / "train-00000-of-00001.parquet")
    with pytest.raises(ManifestError, match="no text, expected a column"):
        list(huggingface.rows(tmp_path / "hub"))
    (saved / "validation" / "data-00000-of-00001.arrow").write_bytes(b"no arrow")
    with pytest.raises(ManifestError, match="cannot be read as Arrow"):
        list(huggingface.rows(saved))


def test_a_plain_folder_names_every_recording_without_text(tmp_path: Path) -> None:
    write_tone(tmp_path / "anna" / "1.wav")
    write_tone(tmp_path / "ben" / "1.flac")
    (tmp_path / "anna" / "1.txt").write_text("\ufeffgood  morning\n")
    with pytest.raises(ManifestError, match=r"1 recordings have no text file.*ben/1\.flac"):
        list(folder.rows(tmp_path))
    (tmp_path / "ben" / "1.lab").write_text("good night")
    first, second = folder.rows(tmp_path)
    assert (first.row.id, first.row.speaker, first.row.text) == ("anna-1", "anna", "good morning")
    assert (second.row.speaker, second.row.audio) == ("ben", "ben/1.flac")


def test_recordings_without_texts_have_empty_ones(tmp_path: Path) -> None:
    write_tone(tmp_path / "anna" / "1.wav")
    write_tone(tmp_path / "2.flac")
    (tmp_path / "anna" / "1.txt").write_text("passed over")
    second, first = recordings.rows(tmp_path)
    assert (first.row.id, first.row.speaker, first.row.text) == ("anna-1", "anna", "")
    assert (second.row.id, second.row.speaker, second.audio) == ("2", "", tmp_path / "2.flac")
    (tmp_path / "empty").mkdir()
    with pytest.raises(ManifestError, match="has no recordings, expected files in"):
        recordings.rows(tmp_path / "empty")


def test_a_shared_manifest_gives_utterances_alone(tmp_path: Path) -> None:
    clip = {"id": "a", "audio": "audio/x/a.wav", "text": "one", "language": "en", "speaker": "s", "subset": "x"}
    lines = [clip, clip | {"id": "b", "segments": []}, clip | {"id": "c", "segments": [{}]}, clip | {"language": "zxx"}]
    (tmp_path / "manifest.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    assert [found.row.id for found in shared.rows(tmp_path)] == ["a", "b"]
    assert next(shared.rows(tmp_path)).row.audio == "x/a.wav"
    with pytest.raises(ManifestError, match="no subset 'y'; there are: x"):
        list(shared.rows(tmp_path, "y"))
