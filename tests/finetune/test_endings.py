"""Lists of endings out of dialogues and texts."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from app import endings
from app.errors import BadRequest
from finetune.endings import main


def test_callers_words_of_dialogues_and_lines_of_texts_are_counted(tmp_path: Path) -> None:
    said = [{"role": "user", "content": "good day"}, {"role": "assistant", "content": "never counted"}]
    (tmp_path / "dialogues.jsonl").write_text(json.dumps({"messages": said}) + "\n")
    (tmp_path / "lines.txt").write_text("good day\nday after day\n")
    main([str(tmp_path / "dialogues.jsonl"), str(tmp_path / "lines.txt"), "--out", str(tmp_path / "endings.json")])
    found = endings.read(tmp_path / "endings.json")
    assert found.words == {"good": (0, 2), "day": (3, 1)}
    assert found.pairs == {"good day": (2, 0), "^ good": (0, 2)}


def test_nothing_said_is_refused(tmp_path: Path) -> None:
    (tmp_path / "empty.txt").write_text("")
    with pytest.raises(BadRequest, match="got no sentence"):
        main([str(tmp_path / "empty.txt"), "--out", str(tmp_path / "endings.json")])
