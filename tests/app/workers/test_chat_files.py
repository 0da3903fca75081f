"""Folders of a language model that lack something, or are broken, are refused before anybody talks to them."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from app.errors import PackError
from app.packs import Pack
from app.workers.chat import CTranslate2Chat
from tests.packs import starter


@pytest.fixture(scope="module")
def pack() -> Pack:
    return starter()


@pytest.mark.parametrize("file", ["model.bin", "tokenizer.json", "chat_template.jinja"])
def test_a_folder_without_a_file_is_refused(pack: Pack, tmp_path: Path, file: str) -> None:
    shutil.copytree(pack.language_folder, tmp_path / "language")
    (tmp_path / "language" / file).unlink()
    with pytest.raises(PackError, match=file.replace(".", r"\.")):
        CTranslate2Chat(tmp_path / "language")


@pytest.mark.parametrize(
    ("file", "content"), [("model.bin", b"x"), ("tokenizer.json", b"{"), ("chat_template.jinja", b"{%")]
)
def test_broken_files_are_refused(pack: Pack, tmp_path: Path, file: str, content: bytes) -> None:
    shutil.copytree(pack.language_folder, tmp_path / "language")
    (tmp_path / "language" / file).write_bytes(content)
    with pytest.raises(PackError):
        CTranslate2Chat(tmp_path / "language")
