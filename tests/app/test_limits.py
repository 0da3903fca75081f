"""Counts that many processes share, on SQLite and on a real PostgreSQL: nobody gets one more than the key may."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path

import pytest
from sqlalchemy import update
from sqlalchemy.orm import Session

from app import keys, limits
from app.database import Database
from app.errors import AccessDenied, LimitReached
from app.keys import access_database
from app.limits import LOST_SECONDS, OpenSession

MAY = 3
ASKING = 8


@pytest.fixture(params=["sqlite", "postgres"])
def places(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[list[Database]]:
    """One database, opened twice, as two processes do."""
    place = request.getfixturevalue("postgres") if request.param == "postgres" else str(tmp_path / "access.sqlite")
    with closing(access_database(place)) as one, closing(access_database(place)) as other:
        yield [one, other]


def made(database: Database, **may: int) -> str:
    """The id of a new key."""
    with database.session() as session:
        return keys.create(session, "web", ["caller"], **may)[0].id


def outcomes(places: list[Database], work: Callable[[Session, int], None]) -> int:
    """How many of ASKING transactions at once are let through; the others are refused by LimitReached."""

    def ask(number: int) -> bool:
        try:
            with places[number % 2].session() as session:
                work(session, number)
        except LimitReached:
            return False
        return True

    with ThreadPoolExecutor(ASKING) as threads:
        return sum(threads.map(ask, range(ASKING)))


def test_sessions_at_once(places: list[Database]) -> None:
    key = made(places[0], sessions=MAY)

    def enter(session: Session, number: int) -> None:
        limits.enter(session, keys.touch(session, key), f"{key}-{number}")

    assert outcomes(places, enter) == MAY
    with places[1].session() as session:
        session.execute(update(OpenSession).values(seen_at=OpenSession.seen_at - LOST_SECONDS - 1))
    assert outcomes(places, lambda session, number: enter(session, number + ASKING)) == MAY  # lost ones do not count
    with places[0].session() as session:
        for number in range(2 * ASKING):
            limits.leave(session, f"{key}-{number}")
    with places[1].session() as session:
        enter(session, 99)


def test_requests_a_minute(places: list[Database], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("app.limits.time.time", lambda: 1_800_000_030.0)  # no minute ends in between
    key = made(places[0], requests_per_minute=MAY)
    assert outcomes(places, lambda session, _: limits.count_request(session, keys.touch(session, key))) == MAY
    with places[1].session() as session, pytest.raises(LimitReached) as refused:
        limits.count_request(session, keys.touch(session, key))
    assert refused.value.retry_after == 30
    monkeypatch.setattr("app.limits.time.time", lambda: 1_800_000_060.0)
    assert outcomes(places, lambda session, _: limits.count_request(session, keys.touch(session, key))) == MAY


def test_audio_adds_up_and_a_day_ends(places: list[Database], monkeypatch: pytest.MonkeyPatch) -> None:
    noon = 1_800_014_400.0  # 12:00 UTC
    monkeypatch.setattr("app.limits.time.time", lambda: noon)
    key = made(places[0], audio_minutes_per_day=1)
    with places[0].session() as session:
        limits.add_audio(session, key, 12.0)
    assert outcomes(places, lambda session, _: limits.add_audio(session, key, 6.0)) == ASKING
    with places[1].session() as session:
        assert limits.audio_today(session, keys.touch(session, key)) == 60.0
    with places[1].session() as session, pytest.raises(LimitReached) as refused:
        limits.check_audio(session, keys.touch(session, key))
    assert (refused.value.code, refused.value.retry_after) == ("insufficient_quota", 43_200)
    monkeypatch.setattr("app.limits.time.time", lambda: noon + 43_200)
    with places[1].session() as session:
        limits.check_audio(session, keys.touch(session, key))


def test_a_revoked_key_counts_nothing(places: list[Database]) -> None:
    key = made(places[0])
    with places[1].session() as session:
        keys.revoke(session, key)
    with places[0].session() as session, pytest.raises(AccessDenied, match="has been revoked"):
        keys.touch(session, key)
