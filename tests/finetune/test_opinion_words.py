"""The second opinion's word model: probabilities that add up, and a domain that is preferred where it is meant."""

from __future__ import annotations

from pathlib import Path

import pytest

from finetune.starter.opinion_words import END, START, Domain, General, mix, write_arpa

GENERAL = General(
    words={START: 1e-9, END: 0.1, "set": 0.2, "a": 0.3, "timer": 0.1, "table": 0.3},
    back_off={START: 0.5, "set": 0.4, "a": 0.5, "timer": 1.0, "table": 1.0, END: 1.0},
    pairs={(START, "set"): 0.6, ("set", "a"): 0.72, ("a", "table"): 0.65},
)
DOMAIN = Domain(["set a timer", "set a timer", "unknown words"], GENERAL.words)


def read(path: Path) -> dict[tuple[str, ...], tuple[float, float]]:
    """N-gram -> probability and back-off weight."""
    grams = {}
    for line in path.read_text(encoding="utf-8").splitlines():
        fields = line.split("\t")
        if len(fields) >= 2:
            grams[tuple(fields[1].split())] = 10 ** float(fields[0]), 10 ** float(fields[2]) if fields[2:] else 1.0
    return grams


def of(grams: dict[tuple[str, ...], tuple[float, float]], *gram: str) -> float:
    """P(last word | the others), as a decoder works it out."""
    if gram in grams or len(gram) == 1:
        return grams[gram][0]
    return grams.get(gram[:-1], (0.0, 1.0))[1] * of(grams, *gram[1:])


def test_sentences_with_words_that_the_dictionary_lacks_are_left_out() -> None:
    assert "unknown" not in DOMAIN.counts[()]
    assert DOMAIN.counts["set", "a"] == {"timer": 2}


@pytest.mark.parametrize("history", [(), ("set",), ("a",), ("table",), ("set", "a"), (START, "set"), ("timer", "a")])
def test_whatever_was_said_the_next_words_add_up_to_one(tmp_path: Path, history: tuple[str, ...]) -> None:
    write_arpa(mix(DOMAIN, GENERAL), tmp_path / "mixed.arpa")
    grams = read(tmp_path / "mixed.arpa")
    total = sum(of(grams, *history, word) for word in GENERAL.words if word != START)
    assert total == pytest.approx(1.0, abs=0.002)  # four decimals of a logarithm


def test_the_domain_is_preferred_and_other_english_remains(tmp_path: Path) -> None:
    write_arpa(mix(DOMAIN, GENERAL), tmp_path / "mixed.arpa")
    grams = read(tmp_path / "mixed.arpa")
    assert of(grams, "set", "a", "timer") > of(grams, "set", "a", "table")
    assert of(grams, "a", "table") > 0.05


def test_pocketsphinx_reads_it(tmp_path: Path) -> None:
    import pocketsphinx

    write_arpa(mix(DOMAIN, GENERAL), tmp_path / "mixed.arpa")
    config, log = pocketsphinx.Config(), pocketsphinx.LogMath()
    model = pocketsphinx.NGramModel(config, log, str(tmp_path / "mixed.arpa"))
    assert model.size() == 3
