"""What an evaluation writes into a card opens the gates that asked for it, and only those."""

from __future__ import annotations

import json
from pathlib import Path

from app.cards import failed_gates, read_card
from app.packs import read_pack
from finetune.evaluate.card import add_to_card
from finetune.evaluate.figures import row
from finetune.evaluate.rates import Rate

RATE = Rate(0.05, 0.02, 0.08, 100, 2)


def test_a_recognizer_that_was_compared_may_be_promoted(tmp_path: Path) -> None:
    (tmp_path / "pack.toml").write_text('[pack]\nformat = 1\nname = "cy"\nversion = "2"\nlanguage = "cy"\n')
    card = {"evaluation": [], "not_measured": ["recognizer"], "not_compared": ["recognizer"]}
    (tmp_path / "card.json").write_text(json.dumps(card))
    pack = read_pack(tmp_path)
    add_to_card(pack, [row("recognizer", "wer_cy", RATE, "share", "words", "")], "some data", [])
    assert read_card(pack)["not_measured"] == []
    assert [line.partition(":")[0] for line in failed_gates(pack)] == [
        "its recognizer was never compared with another pack"
    ]
    change = row("recognizer", "old_language_wer_en_change", RATE, "share", "words", "", most=0.1)
    add_to_card(pack, [change], "other data", [])
    assert failed_gates(pack) == []
    add_to_card(pack, [{**change, "passed": False}], "other data", [])
    assert failed_gates(pack) == [
        "recognizer, old_language_wer_en_change: 0.05 share (n 100 words, gate <= 0.1 missed)"
    ]
