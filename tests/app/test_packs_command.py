"""`parley packs`: versions are built whole, promoted by their cards, taken by new sessions alone, and rolled back."""

from __future__ import annotations

import json
import tomllib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from app import pack_build, pack_versions
from app.__main__ import main
from app.access import Access
from app.cards import failed_gates, read_card
from app.catalogue import Catalogue
from app.errors import GateMissed, PackError, UnknownModel
from app.gateway import GatewayOptions, create_app
from app.packs import MANIFEST, find_pack, list_packs, pack_names
from app.speaking import Workers
from app.workers.connect import reach_recognizer
from app.workers.scripted import ScriptedLanguage, ScriptedSynthesizer
from app.workers.server import recognizer_app
from app.workers.shelved import ShelvedRecognizer
from tests.realtime import Caller, calling
from tests.serving import serving
from tests.shelves import Memory, packs_in, shelf_of
from tests.sounds import flite


def row(metric: str, passed: bool | None) -> dict[str, Any]:
    """A card's row."""
    gate = None if passed is None else {"op": "<=", "value": 0.01}
    return {
        "part": "recognizer", "metric": metric, "value": 0.04, "unit": "share", "n": 120, "n_unit": "words",
        "interval": [0.01, 0.07], "gate": gate, "passed": passed, "note": "",
    }  # fmt: skip


def evaluated(root: Path, folder: str, *rows: dict[str, Any]) -> None:
    """Gives a pack a card."""
    (root / folder / "card.json").write_text(json.dumps({"evaluation": list(rows)}))


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """a 1 and 2, both with their gates met; b and c without a card."""
    packs_in(tmp_path)
    for folder in ("a", "a@2"):
        evaluated(tmp_path, folder, row("wer_en", True))
    return tmp_path


@asynccontextmanager
async def service(root: Path) -> AsyncIterator[str]:
    """A gateway, and a recognizer worker with a shelf that hears the version it is asked for."""
    shelf = shelf_of(Catalogue(find_pack(root, "a"), root), Memory())
    worker = recognizer_app(ShelvedRecognizer(shelf), access=Access(), model="a", models=shelf.packs)
    async with serving(worker) as recognizer:
        workers = Workers(reach_recognizer(recognizer), ScriptedLanguage(["Yes."], repeat=True), ScriptedSynthesizer())
        options = GatewayOptions(audio_ahead_seconds=1000.0, packs=root, default_pack="a")
        async with serving(create_app(find_pack(root, "a"), workers, options=options)) as url:
            yield url


async def heard(caller: Caller) -> str:
    """What a turn was heard as: the recognizer's pack."""
    await caller.send("session.update", session={"audio": {"input": {"transcription": {"model": "whisper-1"}}}})
    await caller.say(flite("what time is it"), then_silence=1.0)
    done = await caller.until("conversation.item.input_audio_transcription.completed")
    assert (await caller.until("response.done"))["response"]["status"] == "completed"
    return str(done["transcript"])


async def test_a_promotion_reaches_new_sessions_of_a_running_service_and_is_rolled_back(root: Path) -> None:
    asked = ["packs", "--packs", str(root)]
    async with service(root) as url, calling(url) as running:
        assert await heard(running) == "a@1"
        assert main([*asked, "promote", "a@2"]) == 0
        async with calling(url) as new:
            assert await heard(new) == "a@2"
            assert main([*asked, "rollback", "a"]) == 0
            async with calling(url) as newest:
                assert await heard(newest) == "a@1"
            assert await heard(new) == "a@2"
        assert await heard(running) == "a@1"


def test_failed_gates_are_named_and_overridden_only_in_words_that_are_kept(
    root: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    evaluated(root, "a@2", row("old_language_wer", False), row("wer_en", True), row("parity", False))
    with pytest.raises(GateMissed, match=r"recognizer, old_language_wer: 0\.04 share .* missed\); recognizer, parity"):
        pack_versions.promote(root, "a@2")
    assert main(["packs", "--packs", str(root), "promote", "a@2"]) == 1
    assert "old_language_wer" in capsys.readouterr().err
    assert find_pack(root, "a").version == "1"
    assert pack_versions.history(root, "a") == []
    pack_versions.promote(root, "a@2", force="only digits are asked here")
    pack = find_pack(root, "a")
    (forced,) = read_card(pack)["forced"]
    (change,) = pack_versions.history(root, "a")
    assert (pack.version, change.words, forced["words"]) == ("2", *["only digits are asked here"] * 2)
    assert len(forced["failed"]) == 2
    assert "only digits are asked here" in (pack.folder / "card.md").read_text()


def test_a_pack_without_figures_is_refused_too(root: Path) -> None:
    (root / "a@2" / "card.json").unlink()
    assert "never evaluated" in failed_gates(find_pack(root, "a@2"))[0]
    with pytest.raises(GateMissed, match="never evaluated"):
        pack_versions.promote(root, "a@2", force="  ")


def test_a_card_that_is_none_is_said(root: Path) -> None:
    evaluated(root, "a@2", {"metric": "wer"})
    with pytest.raises(PackError, match="is no card"):
        pack_versions.promote(root, "a@2")


def test_rollbacks_go_back_promotion_by_promotion_and_stop(root: Path) -> None:
    new = root / "a@3"
    new.mkdir()
    (new / MANIFEST).write_text('[pack]\nformat = 1\nname = "a"\nversion = "3"\nlanguage = "en"\n')
    evaluated(root, "a@3", row("wer_en", None))
    for version in ("2", "3"):
        pack_versions.promote(root, f"a@{version}")
    with pytest.raises(PackError, match="current already"):
        pack_versions.promote(root, "a@3")
    assert [pack_versions.rollback(root, "a").after for _ in range(2)] == ["2", "1"]
    with pytest.raises(PackError, match="nothing to roll a back to"):
        pack_versions.rollback(root, "a")
    told = [(change.action, change.before, change.after) for change in pack_versions.history(root, "a")]
    assert told == [("promote", "1", "2"), ("promote", "2", "3"), ("rollback", "3", "2"), ("rollback", "2", "1")]


def test_what_is_current_is_not_removed_while_there_are_others(root: Path) -> None:
    with pytest.raises(PackError, match="a@1 is current"):
        pack_versions.remove(root, "a@1")
    with pytest.raises(PackError, match=r"Expected NAME@VERSION; there are: a@1, a@2"):
        pack_versions.remove(root, "a")
    pack_versions.promote(root, "a@2")
    pack_versions.remove(root, "a@1")
    assert pack_versions.earlier(root, "a") is None
    with pytest.raises(UnknownModel):
        pack_versions.rollback(root, "a")  # to what is gone
    with pytest.raises(PackError, match="a@2 is the only version of a"):
        pack_versions.remove(root, "a@2")
    pack_versions.remove(root, "a@2", last=True)
    assert pack_names(root) == ["b", "c"]


def weights(folder: Path, name: str) -> Path:
    """A run folder with exported weights."""
    (folder / "export").mkdir(parents=True)
    (folder / "export" / "model.bin").write_text(name)
    return folder


def test_a_build_takes_given_weights_the_rest_and_the_figures_of_the_run(root: Path, tmp_path: Path) -> None:
    for stage in ("language", "voice"):
        (root / "a" / stage).mkdir()
        (root / "a" / stage / "model.bin").write_text(f"old {stage}")
    (root / "a" / "endings.json").write_text("{}")
    (root / "a" / MANIFEST).write_text((root / "a" / MANIFEST).read_text() + '[turn]\nendings = "endings.json"\n')
    old = {"evaluation": [row("wer_en", False)], "training": {"recognizer": {"seed": 1}, "voice": {"seed": 5}}}
    (root / "a" / "card.json").write_text(json.dumps(old))
    run = weights(tmp_path / "run", "new recognizer")
    (run / "evaluation.json").write_text(json.dumps([row("wer_de", None)]))
    facts = {"recipe": "recognizer", "seed": 7, "machine": "mine", "parity": {"int8": {"clips": 50, "same": 49}}}
    facts["settings"] = {"trained_short": True}
    (run / "facts.json").write_text(json.dumps(facts))
    asked = ["packs", "--packs", str(root), "build", "german@1", "--like", "a", "--recognizer", str(run)]
    assert main(asked) == 0
    pack = find_pack(root, "german@1")
    assert (pack.recognizer_folder / "model.bin").read_text() == "new recognizer"
    assert pack.recognizer.trained_short
    assert (pack.voice_folder / "model.bin").read_text() == "old voice"
    assert pack.endings_file
    assert pack.endings_file.read_text() == "{}"
    card = read_card(pack)
    assert [(figure["metric"], figure["passed"]) for figure in card["evaluation"]] == [
        ("wer_de", None),
        ("parity_int8", False),
    ]
    assert card["training"] == {"recognizer": {"recipe": "recognizer", "seed": 7}, "voice": {"seed": 5}}
    assert card["not_measured"] == []
    compare, parity = failed_gates(pack)
    assert compare.startswith("its recognizer was never compared with another pack: old languages and the worst slice")
    assert parity == "recognizer, parity_int8: 0.02 share (n 50 clips, gate <= 0 missed)"
    assert main(asked) == 1  # it is there
    assert not list((root / pack_build.BUILDING).iterdir())


def test_an_adapter_and_a_merged_model_of_one_run_name_their_base(root: Path, tmp_path: Path) -> None:
    (root / "a" / "voice").mkdir()
    export = tmp_path / "run" / "export"
    for folder, file in (("language", "model.bin"), ("adapter", "adapter_model.safetensors")):
        (export / folder).mkdir(parents=True)
        (export / folder / file).write_text("")
    (export / "adapter" / "parley_base.json").write_text('{"base_sha256": "f00d"}')
    (export / "adapter" / "adapter_config.json").write_text('{"base_model_name_or_path": "some/base"}')
    (tmp_path / "run" / "facts.json").write_text('{"parity": {"merged": {"prompts": 9, "same": 8, "ties": 1}}}')
    run = tmp_path / "run"
    pack = pack_build.build(root, "a@3", settings=root / "a", weights={"language": run, "adapter": run})
    settings = pack.language_model
    assert (settings.base, settings.base_hash, settings.adapter) == ("some/base", "f00d", "adapter")
    assert [figure["metric"] for figure in read_card(pack)["evaluation"]] == ["wer_en", "parity_merged"]
    assert failed_gates(pack) == ["its language was never evaluated (parley evaluate)"]  # parity alone says little
    (tmp_path / "run" / "facts.json").write_text("[]")
    with pytest.raises(PackError, match="holds list, expected dict"):
        pack_build.build(root, "a@4", settings=root / "a", weights={"language": run})


@pytest.mark.parametrize("stages", [{"recognizer": "nowhere"}, {"recognizer": "pickled"}, {}])
def test_a_build_that_fails_leaves_nothing(root: Path, tmp_path: Path, stages: dict[str, str]) -> None:
    for stage in ("language", "voice"):
        if stages:
            weights(tmp_path / "more" / stage, stage)
    pickled = weights(tmp_path / "pickled", "")
    (pickled / "export" / "model.pkl").write_text("")
    given = {name: tmp_path / "more" / name for name in ("language", "voice")} if stages else {}
    before = pack_names(root)
    with pytest.raises(PackError):
        pack_build.build(
            root, "new@1", settings=root / "a", weights={**given, **{k: tmp_path / v for k, v in stages.items()}}
        )
    assert pack_names(root) == before


def test_a_run_whose_export_was_refused_is_said(root: Path, tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    (tmp_path / "run/facts.json").write_text("{}")
    (tmp_path / "run/checkpoint.pt").write_text("")
    with pytest.raises(PackError, match="is a run without export: it has not come to its end"):
        pack_build.build(root, "a@4", settings=root / "a", weights={"recognizer": tmp_path / "run"})


def test_an_adapter_of_another_base_is_not_built(root: Path, tmp_path: Path) -> None:
    for stage in ("language", "voice"):
        (root / "a" / stage).mkdir()
    settings = root / "a" / MANIFEST
    settings.write_text(settings.read_text() + '[language]\nbase = "some/base"\nbase_hash = "f00d"\n')
    adapter = tmp_path / "adapter"
    adapter.mkdir()
    (adapter / "adapter_model.safetensors").write_text("")
    (adapter / "parley_base.json").write_text('{"base_sha256": "beef"}')
    with pytest.raises(PackError, match="trained on base beef, expected the served base f00d"):
        pack_build.build(root, "a@3", settings=root / "a", weights={"adapter": adapter})


def test_settings_are_written_as_they_are_read(root: Path) -> None:
    tables = {
        "pack": {"name": 'say "Grüß Gott"\n', "format": 1, "examples": ["a\\b", "c\x7f"]},
        "turn": {"t": 0.5, "on": True},
    }
    assert tomllib.loads(pack_build.toml(tables)) == tables


def test_list_and_show_say_what_is_current_and_what_was_measured(
    root: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    main(["packs", "--packs", str(root), "promote", "a@2"])
    assert main(["packs", "--packs", str(root), "list"]) == 0
    assert main(["packs", "--packs", str(root), "show", "a"]) == 0
    out = capsys.readouterr().out
    assert "* a@2" in out
    assert "  a@1" in out
    assert "1 of 1 gates met" in out
    assert "never evaluated" in out
    assert "promote a@2, before it 1" in out
    assert len(list_packs(root)) == 4
    evaluated(root, "a@2", row("wer_en", True), row("old_language_wer_de_change", False))
    assert main(["packs", "--packs", str(root), "list"]) == 0
    assert "1 of 2 gates met, missed: recognizer old_language_wer_de_change" in capsys.readouterr().out
