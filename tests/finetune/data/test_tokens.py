"""What tokenizers and voices can spell, and what is said about new tokens."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from app import REPOSITORY
from finetune.data.command import main
from finetune.data.errors import DataError
from finetune.data.spelling import spellers_of_pack, tokenizer, voice
from finetune.data.tokens import cost
from tests.finetune.data.samples import dataset, utterance

PACK = REPOSITORY / "models" / "packs" / "en-starter"


def write_tokenizer(folder: Path, words: list[str]) -> Path:
    """A tokenizer of whole words and <unk>, as a folder."""
    from tokenizers import Tokenizer, models, pre_tokenizers

    folder.mkdir()
    made = Tokenizer(models.WordLevel({word: i for i, word in enumerate(["<unk>", *words])}, unk_token="<unk>"))
    made.pre_tokenizer = pre_tokenizers.Whitespace()
    made.save(str(folder / "tokenizer.json"))
    return folder


def test_the_starter_spells_english_and_says_what_it_cannot() -> None:
    for speller in spellers_of_pack(PACK):
        assert not speller.uncovered(["What time is it?", "Turn on the light, please!"]), speller.stage
    spoken = next(speller for speller in spellers_of_pack(PACK) if speller.stage == "voice")
    assert spoken.uncovered(["Größe, größer: ☃"]) == {"ö": 2, "ß": 2}


def test_unknown_characters_are_counted(tmp_path: Path) -> None:
    speller = tokenizer("language", write_tokenizer(tmp_path / "t", ["a", "b"]))
    assert speller.uncovered(["a b c", "c"]) == {"c": 2}
    found = cost(speller, [utterance("x", text="a b c", duration_s=2.0)], [], token_ms=5.0)
    assert (found.tokens_per_text, found.tokens_per_second, found.latency_ms) == (3, 1.5, 15.0)
    assert found.bytes_per_token == 1.67
    assert "merged base" in found.verdict
    assert "LoRA on vLLM cannot" in found.verdict


def test_voices_of_every_kind(tmp_path: Path) -> None:
    (tmp_path / "mms").mkdir()
    (tmp_path / "mms" / "vocab.json").write_text('{"a": 0, "b": 1, " ": 2}')
    (tmp_path / "coqui").mkdir()
    (tmp_path / "coqui" / "config.json").write_text('{"characters": {"characters": "ab", "punctuations": "!"}}')
    (tmp_path / "meta").mkdir()
    (tmp_path / "meta" / "vocab.txt").write_text("a\nb\n \n")
    (tmp_path / "phones").mkdir()
    (tmp_path / "phones" / "config.json").write_text('{"use_phonemes": true, "characters": {"characters": "ə"}}')
    assert not voice(tmp_path / "phones").uncovered(["Ab, c!"])
    for name in ("mms", "coqui", "meta"):
        assert voice(tmp_path / name).uncovered(["Ab, c!"]) == {"c": 1}
    with pytest.raises(DataError, match="neither lexicon"):
        voice(tmp_path)
    with pytest.raises(DataError, match=r"no tokenizer\.json"):
        tokenizer("recognizer", tmp_path)


def test_a_recognizer_without_the_language_is_said_to_lack_its_token(tmp_path: Path) -> None:
    from tokenizers import Tokenizer

    folder = write_tokenizer(tmp_path / "w", ["halo"])
    made = Tokenizer.from_file(str(folder / "tokenizer.json"))
    made.add_special_tokens(["<|en|>", "<|haw|>"])
    made.save(str(folder / "tokenizer.json"))
    found = cost(tokenizer("recognizer", folder), [utterance("x", text="halo", language="gd-GB")], [], 10.0)
    assert found.language_tokens == {"gd": False}
    assert found.verdict.startswith("add tokens; served: yes, as a whole model")  # <unk> for single letters


def test_the_command_prints_a_table_and_writes_json(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    manifest = dataset(tmp_path, [utterance("a", text="größere wörter", language="de")])
    out = tmp_path / "tokens.json"
    assert main(["tokens", str(manifest), "--pack", str(PACK), "--out", str(out)]) == 0
    said = capsys.readouterr().out
    assert "voice (voice): add the symbols" in said
    assert "cannot spell 2 characters: ö(2) ß(1)" in said
    assert [one["stage"] for one in json.loads(out.read_text())["costs"]] == ["recognizer", "language", "voice"]
    assert main(["tokens", str(manifest)]) == 1
    assert "no tokenizer is named" in capsys.readouterr().err
