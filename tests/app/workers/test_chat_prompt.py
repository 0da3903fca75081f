"""Chat templates, which a pack brings along and which are not to be trusted."""

from __future__ import annotations

from pathlib import Path

import pytest

from app.errors import BadRequest
from app.workers.chat_prompt import ChatTemplate


def test_a_template_cannot_reach_beyond_its_arguments(tmp_path: Path) -> None:
    path = tmp_path / "chat_template.jinja"
    path.write_text("{{ messages.__class__.__base__.__subclasses__() }}")
    with pytest.raises(BadRequest):
        ChatTemplate(path, [], "").render([], [])
    path.write_text("{{ raise_exception('no roles here') }}")
    with pytest.raises(BadRequest, match="no roles here"):
        ChatTemplate(path, [], "").render([], [])
