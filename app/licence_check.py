"""`python -m app.licence_check`, part of `make check`: models, libraries and packs of the default, and their licences.

Looks at the registry's profiles, at what `pip install .` brings (with everything that it brings in turn), and at the
packs that ship. Knows no engine; `app/licences.py` holds the list.
"""

from __future__ import annotations

import importlib.metadata
import re
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

from app.licences import is_allowed
from app.packs import list_packs
from app.registry import Profile, read_registry

MODELS = Path(__file__).resolve().parent.parent / "models"

REVIEWED = {
    "soxr": "LGPL-2.1-or-later: a shared library beside the interpreter, exchanged by installing another soxr",
}
"""Libraries outside of the list that a person has looked at, and why they may stay."""

BUNDLES = {
    "av": "BSD-3-Clause itself, but its wheel carries FFmpeg with GPL codecs (x264, x265): installing it is free;"
    " whoever passes an image on must offer the source of those; docs/operations.md, 'Passing images on'",
}
"""Libraries whose wheels carry more than their metadata says."""

STATED = {
    # what a library's metadata says in its own words -> SPDX
    "3-Clause BSD License": "BSD-3-Clause",
    "Apache 2.0": "Apache-2.0",
    "Apache Software License": "Apache-2.0",
    "BSD License": "BSD-3-Clause",  # two clauses or three: both are allowed
    "ISC License (ISCL)": "ISC",
    "MIT License": "MIT",
    "Mozilla Public License 2.0 (MPL 2.0)": "MPL-2.0",
    "Python Software Foundation License": "PSF-2.0",
}


def main() -> int:
    """Prints every fault; 1 where there is one."""
    faults = [*faults_of_profiles(read_registry(MODELS / "registry.toml")), *faults_of_packs(MODELS / "packs")]
    libraries = licences_of("parley")
    faults += faults_of_libraries(libraries)
    for name, note in sorted(BUNDLES.items()):
        print(f"note: {name}: {note}")
    for fault in faults:
        print(f"licence: {fault}", file=sys.stderr)
    print(f"{len(libraries)} libraries, {len(faults)} faults")
    return 1 if faults else 0


def faults_of_profiles(profiles: Mapping[str, Profile]) -> Iterator[str]:
    """A profile that makes a pack must need nobody's word; what does stands apart, in a profile that makes none."""
    for profile in profiles.values():
        for model in profile.models:
            if profile.pack and not is_allowed(model.licence):
                yield f"profile {profile.name} makes a pack, but model {model.name} is under {model.licence}"


def faults_of_libraries(licences: Mapping[str, str]) -> Iterator[str]:
    """Libraries outside of the list that nobody has reviewed, and reviews of libraries that are gone."""
    for name, licence in sorted(licences.items()):
        if not is_allowed(licence) and name not in REVIEWED:
            yield f"library {name} is under {licence or 'no stated licence'}, which is not on the list"
    for name in sorted((REVIEWED.keys() | BUNDLES.keys()) - set(licences)):
        yield f"library {name} has a review, but is not installed by default any more"


def faults_of_packs(folder: Path) -> Iterator[str]:
    """The voice's licence, and each source in the NOTICE: `NAME`, and indented below, `LICENCE; whose; used for`."""
    for pack in list_packs(folder):
        if pack.voice.licence and not is_allowed(pack.voice.licence):
            yield f"pack {pack.name}: its voice is under {pack.voice.licence}, which is not on the list"
        notice = pack.folder / "NOTICE"
        if not notice.is_file():
            yield f"pack {pack.name} has no NOTICE that names the sources of its weights"
            continue
        for line in notice.read_text(encoding="utf-8").splitlines():
            licence = re.sub(r"\s+", "-", line.strip().split(";")[0].strip())
            if line.startswith(" ") and not licence.startswith("none:") and not is_allowed(licence):
                yield f"pack {pack.name}: NOTICE names a source under {licence}, which is not on the list"


def licences_of(root: str) -> dict[str, str]:
    """Licence of a distribution and of all that it requires, by normalised name, as SPDX where it can be told."""
    from packaging.requirements import Requirement

    found: dict[str, str] = {}
    waiting = [Requirement(root)]
    seen: set[tuple[str, str]] = set()
    while waiting:
        wanted = waiting.pop()
        name = re.sub(r"[-_.]+", "-", wanted.name).lower()
        extras = {"", *wanted.extras}
        if extras == {extra for extra in extras if (name, extra) in seen}:
            continue
        seen |= {(name, extra) for extra in extras}
        distribution = importlib.metadata.distribution(wanted.name)
        found[name] = _stated(distribution)
        for text in distribution.requires or []:
            needed = Requirement(text)
            if needed.marker is None or any(needed.marker.evaluate({"extra": extra}) for extra in extras):
                waiting.append(needed)
    return found


def _stated(distribution: importlib.metadata.Distribution) -> str:
    """SPDX expression, or the older License field, or the classifiers; in that order, as they grow vaguer."""
    fields = {key: distribution.metadata.get_all(key) or [] for key in ("License-Expression", "License", "Classifier")}
    classifiers = [text.split(" :: ")[-1] for text in fields["Classifier"] if text.startswith("License ::")]
    for text in (*fields["License-Expression"], *fields["License"], " AND ".join(classifiers)):
        if text:
            return " AND ".join(STATED.get(part, part) for part in text.split(" AND "))
    return ""


if __name__ == "__main__":
    sys.exit(main())
