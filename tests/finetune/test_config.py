"""A recipe's configuration: what is read, what is refused, and in which words."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import pytest

from finetune import config
from finetune.errors import ConfigError


@dataclass(frozen=True)
class Inner:
    rate: float = 1.0
    names: tuple[str, ...] = ()
    kind: Literal["a", "b"] = "a"

    def __post_init__(self) -> None:
        if self.rate <= 0:
            raise ValueError(f"rate: got {self.rate}, expected more than 0")


@dataclass(frozen=True)
class Outer:
    base: str
    steps: int = 5
    limit: float | None = None
    wide: bool = False
    inner: Inner = field(default_factory=Inner)


def read(tmp_path: Path, text: str, *overrides: str) -> Outer:
    path = tmp_path / "c.yaml"
    path.write_text(text)
    return config.load(Outer, path, overrides)


def test_values_overrides_and_the_resolved_copy(tmp_path: Path) -> None:
    given = read(tmp_path, "base: x\ninner: {rate: 1e-4, names: [p, q]}\n", "steps=9", "inner.kind=b", "limit=2")
    assert given == Outer("x", 9, 2.0, False, Inner(0.0001, ("p", "q"), "b"))
    assert read(tmp_path, config.text(given)) == given
    assert config.changed(config.plain(given), config.plain(Outer("x"))) == [
        "steps: 9 -> 5", "limit: 2.0 -> None", "inner.rate: 0.0001 -> 1.0", "inner.names: ['p', 'q'] -> []",
        "inner.kind: 'b' -> 'a'",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("text", "overrides", "message"),
    [
        ("base: x\nstep: 3\n", (), "unknown key step; the nearest known one is steps"),
        ("base: x\n", ("inner.nams=[]",), "unknown key inner.nams; the nearest known one is inner.names"),
        ("steps: 3\n", (), "key base is missing"),
        ("base: x\nbase: y\n", (), "'base' is given twice"),
        ("base: x\nsteps: many\n", (), "steps: got 'many', expected a whole number"),
        ("base: x\nsteps: true\n", (), "steps: got True, expected a whole number"),
        ("base: no\n", (), "base: got False, expected text; YAML reads yes, no"),
        ("base: x\ninner: {rate: fast}\n", (), "inner.rate: got 'fast', expected a number"),
        ("base: x\ninner: {rate: -1}\n", (), "inner.rate: got -1.0, expected more than 0"),
        ("base: x\ninner: {kind: c}\n", (), "inner.kind: got 'c', expected one of a, b"),
        ("base: x\ninner: {names: p}\n", (), "inner.names: got 'p', expected a list"),
        ("base: x\ninner: {names: [1]}\n", (), r"inner.names\[0\]: got 1, expected text"),
        ("base: x\ninner: 3\n", (), "inner: got 3, expected keys below it"),
        ("base: x\n", ("steps",), "got 'steps', expected key=value"),
        ("base: x\n", ("base.y=1",), "base holds a value"),
        ("base: [\n", (), "is not YAML"),
        ("3\n", (), "got int, expected keys and values"),
    ],
)
def test_faults_name_the_key_and_what_was_expected(
    tmp_path: Path, text: str, overrides: tuple[str, ...], message: str
) -> None:
    with pytest.raises(ConfigError, match=message):
        read(tmp_path, text, *overrides)


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="cannot be read"):
        config.load(Outer, tmp_path / "none.yaml")
