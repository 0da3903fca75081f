"""`python -m app.bench.readme`: writes README's performance section from the published reports, docs/bench/*.json."""

from __future__ import annotations

from pathlib import Path

from app import REPOSITORY
from app.bench.picture import UNITS
from app.bench.report import Report, load, written
from app.errors import BadRequest

PUBLISHED = REPOSITORY / "docs" / "bench"
README = REPOSITORY / "README.md"
BEGIN, END = "<!-- written by python -m app.bench.readme -->", "<!-- end -->"


def section(folder: Path) -> str:
    """Every report of a folder, in Markdown."""
    reports = [load(path) for path in sorted(folder.glob("*.json"))]
    return (
        "\n".join(_of(report, folder) for report in reports)
        or "No figures have been published: `make bench-publish`.\n"
    )


def replaced(text: str, new: str) -> str:
    """The text with `new` between the two markers. Raises BadRequest where they are missing."""
    if text.count(BEGIN) != 1 or text.count(END) != 1:
        raise BadRequest(
            f"expected {BEGIN} and {END} once each in the README, got {text.count(BEGIN)}, {text.count(END)}"
        )
    before, _, rest = text.partition(BEGIN)
    _, _, after = rest.partition(END)
    return f"{before}{BEGIN}\n{new}{END}{after}"


def _of(report: Report, folder: Path) -> str:
    # Conditions first, then the figures that the bench itself shows; the JSON beside the picture has the others.
    columns = [
        name
        for name in dict.fromkeys(name for row in report.rows for name in row)
        if not report.drawn or name in report.drawn or name == "callers" or _is_text(report, name)
    ]
    lines = [f"`make bench-{report.bench}`", "", f"| {' | '.join(_heading(name) for name in columns)} |"]
    lines.append("|" + "---|" * len(columns))
    for row in report.rows:
        lines.append(f"| {' | '.join(written(row.get(name, '')) for name in columns)} |")
    lines += ["", *(f"- {note}" for note in report.notes)]
    lines.append("- " + ", ".join(f"{key} {written(value)}" for key, value in report.configuration.items()))
    picture = folder / f"{report.bench}.svg"
    if picture.is_file():
        lines += ["", f"![bench {report.bench}]({picture.relative_to(folder.parents[1])})"]
    return "\n".join([*lines, ""])


def _is_text(report: Report, name: str) -> bool:
    return any(isinstance(row.get(name), str) for row in report.rows)


def _heading(name: str) -> str:
    unit = next((unit for unit in UNITS if name.endswith(f"_{unit}")), "")
    words = name.removesuffix(f"_{unit}").replace("_", " ")
    short = {"percent": "%", "per_s": "per second", "mib": "MiB", "rtf": "RTF"}.get(unit, unit)
    return f"{words}, {short}" if unit else words


if __name__ == "__main__":
    README.write_text(replaced(README.read_text(encoding="utf-8"), section(PUBLISHED)), encoding="utf-8")
