"""The demonstration house: rooms, their devices and the state of each, in memory. Knows no model and no real device."""

from __future__ import annotations

from typing import Final

ROOMS: Final = (
    "kitchen", "bedroom", "living room", "bathroom", "hallway", "garage", "office", "garden", "dining room", "basement",
    "attic", "nursery",
)  # fmt: skip
DEVICES: Final = (
    "light", "lights", "lamp", "fan", "heater", "television", "radio", "music", "heating", "coffee machine",
    "air conditioning", "speaker", "door lock", "washing machine", "oven", "alarm",
)  # fmt: skip
_ONLY_IN: Final = {
    "oven": {"kitchen"},
    "coffee machine": {"kitchen", "office"},
    "washing machine": {"bathroom", "basement"},
}
"""Devices that not every room has."""


class House:
    """States by room and device; everything is off at first."""

    def __init__(self) -> None:
        self._states: dict[tuple[str, str], str] = {}

    def rooms_with(self, device: str) -> tuple[str, ...]:
        """Where the device stands; empty for an unknown one."""
        if device not in DEVICES:
            return ()
        return tuple(room for room in ROOMS if room in _ONLY_IN.get(device, ROOMS))

    def set(self, device: str, room: str, state: str) -> None:
        """Remembers a state: on, off, "40%", "21 degrees"; the light and the lights of a room are one."""
        self._states[room, device.removesuffix("s")] = state

    def get(self, device: str, room: str) -> str:
        """The state last set."""
        return self._states.get((room, device.removesuffix("s")), "off")
