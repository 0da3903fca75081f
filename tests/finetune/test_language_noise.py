"""What a recognizer makes of words, counted and done to others."""

from __future__ import annotations

import random
from collections import Counter
from pathlib import Path

import pytest

from finetune.data.errors import ManifestError
from finetune.recipes.language_noise import aligned, confusions_of, disturbed, read_confusions, write_confusions


def test_confusions_are_counted_from_what_was_heard(tmp_path: Path) -> None:
    assert list(aligned("mach das Licht an", "mach dass licht")) == [
        ("mach", "mach"), ("das", "dass"), ("licht", "licht"), ("an", ""),
    ]  # fmt: skip
    assert list(aligned("licht an", "licht an aus")) == [("licht", "licht"), ("an", "an aus")]
    counted = confusions_of([("das licht", "dass licht"), ("das", "dass"), ("das", "das")])
    assert counted == {"das": Counter({"dass": 2})}
    write_confusions(tmp_path / "c.tsv", counted)
    assert read_confusions(tmp_path / "c.tsv") == counted
    assert disturbed("Das ist das", counted, 1.0, random.Random(1)) == "dass ist dass"
    assert disturbed("an", {"an": Counter({"": 1})}, 1.0, random.Random(1)) == "an"
    (tmp_path / "c.tsv").write_text("das dass 2\n")
    with pytest.raises(ManifestError, match=r"c\.tsv:1: got 'das dass 2', expected said, heard and count"):
        read_confusions(tmp_path / "c.tsv")
