"""A folder of packs with weights of zeros, and a job that has trained a stage for them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from app.jobs.store import Job, Store, new_id, now
from tests.app.jobs.place import Place


def gate(passed: bool, part: str = "recognizer", metric: str = "wer") -> dict[str, Any]:
    """A card's row."""
    return {
        "part": part, "metric": metric, "value": 0.04, "unit": "share", "n": 120, "n_unit": "words",
        "interval": [0.01, 0.07], "gate": {"op": "<=", "value": 0.05 if passed else 0.01}, "passed": passed, "note": "",
    }  # fmt: skip


def write_pack(root: Path, name: str = "de", version: str = "1") -> Path:
    """A pack whose gates are met."""
    folder = root / name
    for stage in ("recognizer", "language", "voice"):
        (folder / stage).mkdir(parents=True)
        (folder / stage / "model.bin").write_bytes(b"old")
    head = f'format = 1\nname = "{name}"\nversion = "{version}"\nlanguage = "de"\ndescription = "A pack of zeros."\n'
    (folder / "pack.toml").write_text(f"[pack]\n{head}")
    card = {"evaluation": [gate(True), gate(True, "language"), gate(True, "voice")]}
    (folder / "card.json").write_text(json.dumps(card))
    return folder


def write_job(place: Place, status: str, *, evaluated: bool | None = None, **values: Any) -> Job:
    """A recognizer's job with its run folder; `evaluated`: whether its figure meets its gate, None: it has none."""
    name = new_id("ftjob")
    ready = f"ft:de:{values.get('suffix') or ''}:{name}" if status == "succeeded" else None
    job = Job(
        id=name, created_at=now(), status=status, model="de", method="recognizer", configuration="recognizer_tiny",
        hyperparameters={"training.steps": 100}, training_file="dataset:de", seed=1, dry_run=False, job_metadata={},
        result_files=[], fine_tuned_model=ready, overrides=[], **values,
    )  # fmt: skip
    store = Store(place.jobs)
    store.add(job)
    store.note(name, "The job is created; its data are looked at")
    run = place.jobs / "runs" / name / "run"
    (run / "export/recognizer").mkdir(parents=True)
    (run / "export/recognizer/model.bin").write_bytes(b"new")
    facts = {
        "recipe": "recognizer", "configuration": {"training": {"steps": 100}},
        "parity": {"merged": {"clips": 20, "same": 20}},
    }  # fmt: skip
    (run / "facts.json").write_text(json.dumps(facts))
    measure(run, *range(10, 60, 10))
    (run.parent / "log.txt").write_text("step 1\rstep 2\rstep 50\nparley: a last line\n")
    if evaluated is not None:
        (run / "evaluation.json").write_text(json.dumps([gate(evaluated), gate(True, metric="old_wer_change")]))
    store.close()
    return job


def measure(run: Path, *steps: int) -> None:
    """More lines of measurements."""
    with (run / "metrics.jsonl").open("a") as file:
        for step in steps:
            row = {"step": step, "seconds": step * 1.5, "loss": 3.0 / step**0.5, "learning_rate": 0.001}
            file.write(json.dumps(row) + "\n")
            if step % 20 == 0:
                file.write(
                    json.dumps({"step": step, "seconds": step * 1.5, "loss": 3.0 / step, "dev_wer": 9 / step}) + "\n"
                )
