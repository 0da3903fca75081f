"""What a run shows of itself while it trains: metrics.jsonl, a progress bar, TensorBoard if installed, curves."""

from __future__ import annotations

import importlib.util
import json
import time
from types import TracebackType
from typing import Any

from tqdm import tqdm

from finetune.run import Run, read_metrics, write_whole


class Measurements:
    """Open while a run trains. The line of a step is the same in a resumed run, but for its `seconds`."""

    def __init__(self, run: Run, step: int, steps: int) -> None:
        """Takes up after `step`; measurements of later steps, which a killed process made, are dropped; without a
        checkpoint all are."""
        self._run = run
        self._loss = 0.0
        self._began = time.monotonic()
        rows = read_metrics(run, step) if run.checkpoint.exists() else []
        self._seconds = float(rows[-1]["seconds"]) if rows else 0.0
        self._bar = tqdm(
            desc=run.folder.name, total=steps, initial=step, unit="step", disable=not run.main, dynamic_ncols=True
        )
        self._board: Any = None
        if run.main:
            write_whole(run.metrics, "".join(json.dumps(row) + "\n" for row in rows))
            if importlib.util.find_spec("tensorboard"):
                from torch.utils.tensorboard import SummaryWriter

                folder = str(run.folder / "tensorboard")
                self._board = SummaryWriter(folder, purge_step=step + 1)

    def __enter__(self) -> Measurements:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._bar.close()
        if self._board is not None:
            self._board.close()
        if self._run.main and error is None:
            draw(self._run)

    def step(self, step: int, loss: float) -> None:
        """One step is done."""
        self._loss = loss
        self._bar.update(step - self._bar.n)
        self._bar.set_postfix(loss=f"{loss:.3f}", refresh=False)

    def write(self, step: int, **measured: float) -> None:
        """Writes measurements of a step, with the step's loss."""
        if not self._run.main:
            return
        values = {"loss": self._loss, **{name: float(value) for name, value in measured.items()}}
        seconds = self._seconds + time.monotonic() - self._began
        with self._run.metrics.open("a", encoding="utf-8") as file:
            file.write(json.dumps({"step": step, "seconds": round(seconds, 3), **values}) + "\n")
        for name, value in values.items():
            if self._board is not None:
                self._board.add_scalar(name, value, step)


def draw(run: Run) -> None:
    """RUN/curves.svg: every measurement over steps."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    rows = read_metrics(run)
    names = [name for name in dict.fromkeys(name for row in rows for name in row) if name not in ("step", "seconds")]
    figure, axes = pyplot.subplots(len(names), 1, figsize=(7, 2 * len(names) + 0.5), sharex=True, squeeze=False)
    for axis, name in zip(axes[:, 0], names, strict=True):
        points = {row["step"]: row[name] for row in rows if name in row}
        axis.plot(list(points), list(points.values()), marker="." if len(points) < 50 else "")
        axis.set_ylabel(name.replace("_", " "))
        axis.grid(alpha=0.3)
    axes[-1, 0].set_xlabel("step")
    figure.tight_layout()
    figure.savefig(run.folder / "curves.svg")
    pyplot.close(figure)
