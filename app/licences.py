"""Which licences Parley takes without asking: for code it installs and for weights it downloads. Reads no files.

Licences are SPDX expressions (https://spdx.org/licenses), such as `Apache-2.0` or `MPL-2.0 AND (Apache-2.0 OR MIT)`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from app.errors import LicenceError

ALLOWED = (
    "0BSD", "Apache-2.0", "BSD-2-Clause", "BSD-3-Clause", "CC0-1.0", "CC-BY-2.0", "CC-BY-3.0", "CC-BY-4.0",
    "ISC", "MIT", "MIT-0",
    "MPL-2.0",  # asks only for changes to its own files
    "PSF-2.0", "Unicode-3.0", "Unlicense", "public-domain", "Zlib",
)  # fmt: skip
"""Free to use, sell and pass on, in an image too."""

REFUSED = {
    "AGPL-3.0": "it asks whoever offers the service over a network to publish its source",
    "GPL-3.0": "it asks for the source of everything that is shipped together with it",
    "GPL-2.0": "it asks for the source of everything that is shipped together with it",
    "LGPL-3.0": "it asks that a receiver can exchange the library; whoever ships an image must see to that",
    "LGPL-2.1": "it asks that a receiver can exchange the library; whoever ships an image must see to that",
    "CC-BY-NC-4.0": "it forbids commercial use",
    "CC-BY-NC-SA-4.0": "it forbids commercial use",
    "CC-BY-NC-ND-4.0": "it forbids commercial use and changes",
    "CC-BY-NC-SA-3.0": "it forbids commercial use",
    "CC-BY-NC-3.0": "it forbids commercial use",
    "CC-BY-SA-4.0": "it asks that whatever is made of it is passed on under the same licence",
    "CPML": "Coqui's public model licence forbids commercial use",
}
"""Known licences that are taken only with the operator's word, and why."""


def check_licence(licence: str, accepted: bool, what: str) -> None:
    """Passes where the licence is on the allow-list, or where the operator has accepted it by `--accept-licence`.

    `what` names the thing in the message, for instance `model chattts`. Raises LicenceError.
    """
    if accepted or is_allowed(licence):
        return
    raise LicenceError(
        f"{what} is under {licence or 'no stated licence'}: {_reason(licence)}. "
        f"Read the licence; if you may use it, say so with --accept-licence"
    )


def is_allowed(licence: str) -> bool:
    """Whether an SPDX expression can be satisfied by licences of the allow-list alone."""
    tokens = re.findall(r"[()]|[^\s()]+", licence)
    try:
        value = _alternatives(iter([*tokens, ""]), end="")
    except ValueError:
        return False  # no SPDX expression: a person must look at it
    return value


def _alternatives(tokens: Iterator[str], end: str) -> bool:
    """`A AND B OR C`: AND binds closer than OR; a `WITH` exception only ever adds permissions and is passed over."""
    any_of, all_of, expects_name = False, True, True
    for token in tokens:
        word = token.upper()
        if token == end and not expects_name:
            return any_of or all_of
        if expects_name and token not in ("", ")"):
            all_of &= _alternatives(tokens, end=")") if token == "(" else _is_name_allowed(token)
            expects_name = False
        elif word in ("AND", "OR") and not expects_name:
            any_of, all_of = (any_of or all_of, True) if word == "OR" else (any_of, all_of)
            expects_name = True
        elif word == "WITH" and not expects_name:
            next(tokens)
        else:
            raise ValueError(f"expected a licence expression, got {token!r}")
    raise ValueError(f"expected {end!r}, got the end of the expression")


def _is_name_allowed(name: str) -> bool:
    return name.casefold() in _ALLOWED


def _reason(licence: str) -> str:
    for name, reason in REFUSED.items():
        if re.search(rf"\b{re.escape(name)}(?:-only|-or-later|\+)?(?![\w.-])", licence, re.IGNORECASE):
            return reason
    return "it is not on Parley's list of licences that allow every use"


_ALLOWED = frozenset(name.casefold() for name in ALLOWED)
