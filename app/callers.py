"""Who asks, and what for. Pure decisions: knows no request's form, no database and no count."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Literal

from app.errors import AccessDenied

Scope = Literal["caller", "operator"]
SCOPES: Final[tuple[Scope, ...]] = ("caller", "operator")
SECRET_PREFIX: Final = "ek_"  # of a client secret, by which it is told from a key


@dataclass(frozen=True, slots=True)
class Grant:
    """What a client secret carries into the call that it opens."""

    session: Mapping[str, Any] = field(default_factory=dict)
    """The session's configuration, as a partial update of the default one."""
    caller_id: str = ""
    """Under which the conversation is kept, whatever the client says."""
    keep_audio: bool = False
    """The caller has consented to audio being kept."""


@dataclass(frozen=True, slots=True)
class Caller:
    """Whom a key stands for."""

    key: str = ""
    """Id of the key, in a database; SETTINGS; or empty for anybody, where no key is asked for."""
    scopes: frozenset[Scope] = frozenset()
    counted: bool = False
    """The key has a row in the database, where what it uses is counted."""
    grant: Grant | None = None
    """Of a client secret, which opens calls and nothing else."""


ANYBODY: Final = Caller(scopes=frozenset({"caller"}))
SETTINGS: Final = "settings"
"""Id of all keys that come from the settings: they are not told apart."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """What a request asks for."""

    scope: Scope
    call: bool = False
    """The realtime WebSocket."""
    audio: bool = False
    """Audio is heard or spoken."""


def permit(caller: Caller | None, wanted: Wanted, *, key: str | None, closed: bool, operators: bool) -> Caller:
    """Who comes in; `caller` is whom the `key` that was sent stands for, None where nobody knows it.

    `closed`: a key is asked for. `operators`: there are keys of operators. Raises AccessDenied.
    """
    if caller is not None and wanted.scope in caller.scopes and (wanted.call or caller.grant is None):
        return caller
    if caller is None and key is not None and key.startswith(SECRET_PREFIX):  # what it carries would be missing
        raise AccessDenied("The client secret is unknown here, or has expired; ask for a new one")
    if not closed:
        return ANYBODY
    if key is None:
        raise AccessDenied("No API key was sent; expected the header 'Authorization: Bearer KEY'")
    if caller is None:
        raise AccessDenied("The API key is not one of this service's keys")
    if caller.grant is not None:
        raise AccessDenied("A client secret opens /v1/realtime and nothing else", code="forbidden_key")
    if wanted.scope == "operator":
        none = "" if operators else ", and this service has none: --operator-key"
        raise AccessDenied(
            f"This is a caller's key; fine-tuning and packs need an operator's{none}", code="forbidden_key"
        )
    raise AccessDenied("This is an operator's key, for fine-tuning and packs alone", code="forbidden_key")
