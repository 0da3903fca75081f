"""pack.toml is read strictly, and nothing in a pack can run code or lie outside of it."""

from __future__ import annotations

from pathlib import Path

import pytest

from app import REPOSITORY
from app.errors import PackError, UnknownModel
from app.packs import Pack, TurnSettings, find_pack, list_packs, pack_names, read_pack

GOOD = """
[pack]
format = 1
name = "mini"
version = "2"
language = "en"
examples = ["hello"]
[turn]
threshold = 1
[voice]
names = ["anna"]
"""


def write(folder: Path, manifest: str) -> Path:
    folder.mkdir(exist_ok=True)
    (folder / "pack.toml").write_text(manifest)
    return folder


def test_a_manifest_is_read_with_defaults(tmp_path: Path) -> None:
    pack = read_pack(write(tmp_path / "mini", GOOD))
    assert (pack.name, pack.version, pack.examples, pack.voice.names) == ("mini", "2", ("hello",), ("anna",))
    assert pack.turn.threshold == 1.0
    assert pack.turn.silence_duration_ms == 500
    assert pack.recognizer_folder == tmp_path / "mini" / "recognizer"


def test_the_pack_that_ships_can_be_read() -> None:
    packs = list_packs(REPOSITORY / "models" / "packs")
    assert "en-starter" in [pack.name for pack in packs]


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        (("format = 1", "format = 2"), "format must be 1"),
        (('name = "mini"', ""), "lacks 'name'"),
        (('name = "mini"', "name = 3"), "name must be str, got 3"),
        (("threshold = 1", 'threshold = "high"'), "threshold must be float, got 'high'"),
        (("threshold = 1", "treshold = 1"), r"unknown keys \['treshold'\]"),
        (("[turn]", "[trun]"), r"unknown table \[trun\]"),
        (('names = ["anna"]', "names = [1]"), "names must be tuple"),
        (('names = ["anna"]', 'path = "../../elsewhere"'), "outside of the pack"),
        (("[pack]", "[pack"), "is not TOML"),
        (("[pack]", "[peck]"), r"table \[pack\] is missing"),
    ],
)
def test_a_fault_is_named(tmp_path: Path, change: tuple[str, str], complaint: str) -> None:
    with pytest.raises(PackError, match=complaint):
        read_pack(write(tmp_path / "mini", GOOD.replace(*change)))


def test_a_folder_without_a_manifest_is_no_pack(tmp_path: Path) -> None:
    with pytest.raises(PackError, match=r"has no pack\.toml"):
        read_pack(tmp_path)


@pytest.mark.parametrize("name", ["weights.pt", "tokenizer.pkl", "deep/code.py"])
def test_a_file_whose_loading_could_run_code_is_refused(tmp_path: Path, name: str) -> None:
    folder = write(tmp_path / "mini", GOOD)
    (folder / name).parent.mkdir(exist_ok=True)
    (folder / name).write_bytes(b"")
    with pytest.raises(PackError, match="can run code"):
        read_pack(folder)


def test_an_unknown_pack_names_those_there_are(tmp_path: Path) -> None:
    write(tmp_path / "mini", GOOD)
    with pytest.raises(UnknownModel, match="there are: mini"):
        find_pack(tmp_path, "maxi")


def versions(root: Path, *, current: str = "") -> None:
    """mini in three versions: 2 in the plain folder, 3 and 4 in folders of their own."""
    write(root / "mini", GOOD)
    for version in ("3", "4"):
        write(root / f"mini@{version}", GOOD.replace('version = "2"', f'version = "{version}"'))
    if current:
        (root / "mini.current").write_text(f"{current}\n")


@pytest.mark.parametrize(
    ("current", "name", "version"),
    [("", "mini", "2"), ("3", "mini", "3"), ("2", "mini", "2"), ("3", "mini@2", "2"), ("", "mini@4", "4")],
)
def test_a_name_means_the_current_version(tmp_path: Path, current: str, name: str, version: str) -> None:
    versions(tmp_path, current=current)
    pack = find_pack(tmp_path, name)
    assert (pack.name, pack.version, pack.reference) == ("mini", version, f"mini@{version}")


def test_names_are_those_that_can_be_asked_for(tmp_path: Path) -> None:
    versions(tmp_path)
    write(tmp_path / "maxi@1", GOOD.replace("mini", "maxi").replace('version = "2"', 'version = "1"'))
    assert pack_names(tmp_path) == ["maxi@1", "mini", "mini@3", "mini@4"]
    with pytest.raises(UnknownModel, match=r"no language pack 'maxi' in /.*; there are: maxi@1, mini"):
        find_pack(tmp_path, "maxi")
    (tmp_path / "maxi.current").write_text("7")
    with pytest.raises(UnknownModel, match="no language pack 'maxi' in version 7 in "):
        find_pack(tmp_path, "maxi")
    (tmp_path / "maxi.current").write_text("1")
    assert "maxi" in pack_names(tmp_path)


@pytest.mark.parametrize("name", ["mini@9", "../mini", "mini/../mini", "", ".", "mini@../mini", "/mini", "mini@2/.."])
def test_no_name_leads_elsewhere(tmp_path: Path, name: str) -> None:
    versions(tmp_path)
    with pytest.raises(UnknownModel, match="no language pack"):
        find_pack(tmp_path, name)


def test_a_folder_is_named_after_its_pack(tmp_path: Path) -> None:
    write(tmp_path / "mini@7", GOOD)
    write(tmp_path / "other", GOOD)
    for name in ("mini@7", "other"):
        with pytest.raises(PackError, match="expected the pack that the folder is named after"):
            find_pack(tmp_path, name)


def test_a_pack_may_lack_the_list_of_endings_that_it_names(tmp_path: Path) -> None:
    pack = Pack(tmp_path, "x", "1", "en", turn=TurnSettings(endings="endings.json"))
    assert pack.endings_file is None
    (tmp_path / "endings.json").write_text("{}")
    assert pack.endings_file == tmp_path / "endings.json"
    assert Pack(tmp_path, "x", "1", "en").endings_file is None
