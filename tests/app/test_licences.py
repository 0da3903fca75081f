"""The allow-list: what it takes, what it refuses, and in which words."""

from __future__ import annotations

import pytest

from app.errors import LicenceError
from app.licences import ALLOWED, REFUSED, check_licence, is_allowed


@pytest.mark.parametrize("licence", ALLOWED)
def test_the_allowed_pass_in_any_case(licence: str) -> None:
    check_licence(licence, False, "thing")
    check_licence(licence.lower(), False, "thing")


@pytest.mark.parametrize("licence", REFUSED)
def test_the_refused_say_their_name_the_reason_and_the_way_out(licence: str) -> None:
    with pytest.raises(LicenceError) as caught:
        check_licence(licence, False, "model m")
    assert caught.value.code == "licence_error"
    for part in ("model m", licence, REFUSED[licence], "--accept-licence"):
        assert part in caught.value.message
    check_licence(licence, True, "model m")


@pytest.mark.parametrize(
    "licence",
    [
        "MPL-2.0 AND (Apache-2.0 OR MIT)",
        "AGPL-3.0-only OR MIT",
        "Apache-2.0 WITH LLVM-exception",
        "BSD-3-Clause AND 0BSD AND MIT AND Zlib AND CC0-1.0",
        "GPL-3.0-only AND MIT OR ISC",
    ],
)
def test_expressions_that_the_list_satisfies(licence: str) -> None:
    assert is_allowed(licence)


@pytest.mark.parametrize(
    "licence",
    [
        "",
        "MIT AND AGPL-3.0-or-later",
        "MIT AND (GPL-3.0-only OR CPML)",
        "Apache 2.0",
        "MIT AND",
        "(MIT",
        "MIT)",
        "AND MIT",
        "MIT WITH",
        "cc-by-nc-4.0",
        "other",
    ],
)
def test_what_is_refused_or_no_expression(licence: str) -> None:
    assert not is_allowed(licence)


@pytest.mark.parametrize(
    ("licence", "reason"),
    [
        ("AGPL-3.0-or-later", "network"),
        ("MIT AND CPML", "Coqui"),
        ("", "no stated licence"),
        ("my-own-1.0", "not on Parley's list"),
    ],
)
def test_the_reason_fits(licence: str, reason: str) -> None:
    with pytest.raises(LicenceError, match=reason):
        check_licence(licence, False, "thing")


def test_a_longer_name_is_not_taken_for_a_shorter() -> None:
    with pytest.raises(LicenceError, match="forbids commercial use and changes"):
        check_licence("CC-BY-NC-ND-4.0", False, "thing")
