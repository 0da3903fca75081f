"""What may be asked of a voice: its name, its speed, and how many replies at once. Knows no engine."""

from __future__ import annotations

from collections.abc import Sequence

from app.errors import BadRequest, WorkerBusy
from app.names import voice_of

SLOWEST, FASTEST = 0.25, 4.0


def checked(voice: str, names: Sequence[str], speed: float, *, replies: int, max_replies: int) -> str:
    """Which of `names` is meant, while there is room for a reply more.

    Raises UnknownModel, BadRequest for the speed, WorkerBusy.
    """
    name = voice_of(voice, names)
    if not SLOWEST <= speed <= FASTEST:
        raise BadRequest(f"got speed {speed}, expected {SLOWEST} to {FASTEST}", param="speed")
    if replies >= max_replies:
        raise WorkerBusy(f"all {max_replies} replies of the voice are in use")
    return name
