"""Random sequences of client events: the invariants of a session hold whatever a client sends.

PARLEY_RANDOM_EVENTS is how many events are sent at least; `make test-nightly` sends 100,000.
"""

from __future__ import annotations

import os

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.app.random_caller import ACTIONS, Action, run

AT_LEAST = 30  # events in a sequence
SEQUENCES = -(-int(os.environ.get("PARLEY_RANDOM_EVENTS", "600")) // AT_LEAST)
ACTION = st.tuples(st.sampled_from(ACTIONS), st.integers(0, 1000))


@settings(
    max_examples=SEQUENCES,
    deadline=None,
    database=None,
    derandomize="PARLEY_RANDOM_EVENTS" not in os.environ,  # at night others than yesterday's
    suppress_health_check=list(HealthCheck),
)
@given(st.lists(ACTION, min_size=AT_LEAST, max_size=2 * AT_LEAST), st.lists(st.integers(0, 1000), min_size=1))
async def test_invariants_hold_for_any_sequence_of_events(actions: list[Action], choices: list[int]) -> None:
    await run(actions, choices)
