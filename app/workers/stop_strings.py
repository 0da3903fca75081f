"""Cuts a streamed reply at stop strings. Sans-I/O; knows no model."""

from __future__ import annotations

from collections.abc import Sequence


class StopStrings:
    """Cuts a reply at the first of the stop strings; text that may begin one is held back."""

    def __init__(self, strings: Sequence[str]) -> None:
        self.hit = False
        self._strings = [string for string in strings if string]
        self._held = ""

    def feed(self, text: str) -> str:
        """What can be said by now."""
        if self.hit:
            return ""
        text = self._held + text
        found = [at for string in self._strings if (at := text.find(string)) >= 0]
        if found:
            self.hit, self._held = True, ""
            return text[: min(found)]
        held = max((len(string) - 1 for string in self._strings), default=0)
        held = next((n for n in range(min(held, len(text)), 0, -1) if self._begins(text[-n:])), 0)
        self._held = text[len(text) - held :]
        return text[: len(text) - held]

    def rest(self) -> str:
        """What was held back, once the reply has ended."""
        return self._held

    def _begins(self, tail: str) -> bool:
        return any(string.startswith(tail) for string in self._strings)
