"""Requests of real people that the starter cannot serve, from open text corpora. Knows no generated sentence.

Sources: SLURP's text (CC BY 4.0), ChatterBot's corpus (BSD-3-Clause), Taskmaster-4 (CC BY 4.0), below PARLEY_DATA/text.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

from finetune.starter.words import number_words

OUTSIDE_INTENTS: Final = (
    "calendar_", "email_", "play_", "news_", "transport_", "lists_", "qa_currency", "qa_stock", "qa_definition",
    "takeaway_", "recommendation_", "social_", "cooking_", "music_", "audio_volume",
)  # fmt: skip
"""SLURP's intents, by prefix, for which the starter has neither tool nor answer."""
OUTSIDE_TOPICS: Final = {
    "trivia", "science", "history", "sports", "movies", "literature", "food", "money", "computers", "gossip", "ai",
}  # fmt: skip


def outside_requests() -> list[str]:
    """Different requests in spoken form, 3 to 20 words; empty without PARLEY_DATA."""
    root = os.environ.get("PARLEY_DATA", "")
    if not root:
        return []
    found = {spoken: None for text in _texts(Path(root) / "text") if (spoken := _spoken(text))}
    return list(found)


def _texts(folder: Path) -> Iterator[str]:
    for row in _rows(folder / "commands" / "en_slurp.jsonl"):
        if row["intent"].startswith(OUTSIDE_INTENTS):
            yield row["user"]
    for row in _rows(folder / "dialogues" / "multi_chatterbot.jsonl"):
        if row["language"] == "en" and row.get("topic") in OUTSIDE_TOPICS:
            yield row["turns"][0]["text"]
    for row in _rows(folder / "dialogues" / "en_taskmaster4.jsonl"):
        yield row["turns"][0]["text"]


def _rows(path: Path) -> Iterator[dict[str, Any]]:
    with path.open(encoding="utf-8") as lines:
        for line in lines:
            yield json.loads(line)


def _spoken(text: str) -> str:
    """Lower case, numbers in words, no punctuation; empty for what nobody would say."""
    text = re.sub(r"\d{1,6}", lambda match: f" {number_words(int(match.group()))} ", text.lower().replace("’", "'"))
    heard = re.sub(r"[^a-z' ]+", " ", text).split()
    return " ".join(heard) if 3 <= len(heard) <= 20 else ""
