"""`python -m finetune.compare.publish RUN NAME`: a comparison's figures into docs/joint.md and README.md.

Each between the markers of that name; the README gets the sentence and the three figures that matter most.
"""

from __future__ import annotations

import argparse
import json
import shutil
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from app import REPOSITORY
from finetune.compare.page import DRAWN
from finetune.compare.results import METRICS, name_of
from finetune.errors import RunError
from finetune.run import write_whole

DOCUMENT: Final = REPOSITORY / "docs/joint.md"
README: Final = REPOSITORY / "README.md"
PICTURES: Final = REPOSITORY / "docs/compare"
TOLD: Final = ("base", "trained", "seeds", "judge of the voice", "cpu", "cores", "load_before", "commit")


def main() -> None:
    """Writes the section and copies the picture."""
    parser = argparse.ArgumentParser(prog="python -m finetune.compare.publish", description=__doc__)
    parser.add_argument("run", type=Path, metavar="RUN", help="folder of the comparison")
    parser.add_argument("name", metavar="NAME", help="of the section")
    args = parser.parse_args()
    report = json.loads((args.run / "comparison.json").read_text(encoding="utf-8"))
    PICTURES.mkdir(exist_ok=True)
    shutil.copyfile(args.run / "comparison.svg", PICTURES / f"{args.name}.svg")
    for document, written in ((DOCUMENT, section(report, args.name)), (README, brief(report))):
        write_whole(document, replaced(document.read_text(encoding="utf-8"), args.name, written))


def section(report: Mapping[str, Any], name: str) -> str:
    """Sentence, table, what it was measured with, picture."""
    facts = ", ".join(f"{key} {report['facts'][key]}" for key in TOLD if key in report["facts"])
    taken = Counter(", ".join(stages) for key, stages in report["stages"].items() if "joint" in key)
    lines = [f"**{report['sentence']}**", "", report["table"], "", f"- {facts}"]
    lines.append("- in brackets: less the figure of separate + shared data, and its 95 % interval")
    if taken:
        told = "; ".join(f"{stages} in {count}" for stages, count in taken.most_common())
        lines.append(f"- stages that dev took in joint runs: {told}")
    lines += [f"- not measured: {one}" for one in report["not_measured"]]
    return "\n".join([*lines, "", f"![comparison {name}](compare/{name}.svg)", ""])


def brief(report: Mapping[str, Any]) -> str:
    """Sentence, and of each arm what the picture shows, the sizes side by side."""
    rows = report["rows"]
    sizes, arms = (list(dict.fromkeys(row[name] for row in rows)) for name in ("size", "arm"))
    named = [name for name in DRAWN if any(name in row["figures"] for row in rows)]
    heads = [f"{METRICS[name].title}, %, {size} data" for size in sizes for name in named]
    lines = [f"| arm | {' | '.join(heads)} |", f"| --- |{' --- |' * len(heads)}"]
    for arm in arms:
        figures = {row["size"]: row["figures"] for row in rows if row["arm"] == arm}
        found = [figures.get(size, {}).get(name) for size in sizes for name in named]
        told = [f"{100 * one['rate']['value']:.1f}" if one else "" for one in found]
        lines.append(f"| {name_of(arm)} | {' | '.join(told)} |")
    return "\n".join([f"**{report['sentence']}**", "", *lines, ""])


def replaced(text: str, name: str, new: str) -> str:
    """The text with `new` between the section's markers. Raises RunError where they are missing."""
    begin, end = f"<!-- comparison {name} -->", f"<!-- end of {name} -->"
    if text.count(begin) != 1 or text.count(end) != 1:
        raise RunError(f"{name}: expected {begin} and {end} once each, got {text.count(begin)}, {text.count(end)}")
    before, _, rest = text.partition(begin)
    return f"{before}{begin}\n{new}{end}{rest.partition(end)[2]}"


if __name__ == "__main__":
    main()
