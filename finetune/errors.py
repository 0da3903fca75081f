"""Errors of training; they hang below ParleyError. Those of data are in `data/errors.py`.

FinetuneError
├── ConfigError        a configuration that a recipe cannot run
├── RunError           a run folder that this run may not continue
├── CheckpointError    a checkpoint that is not one, or of another model
├── TrainingError      training that cannot go on
└── ExportError        a model that cannot be exported as it was asked for
    └── ParityError    what is exported answers otherwise than what was trained
"""

from __future__ import annotations

from app.errors import ParleyError


class FinetuneError(ParleyError):
    """A recipe cannot do what it was asked for."""

    code = "finetune_error"


class ConfigError(FinetuneError):
    """A key or value of a configuration; the message names the key."""

    code = "config_error"


class RunError(FinetuneError):
    """The run folder belongs to another run."""

    code = "run_error"


class CheckpointError(FinetuneError):
    """A checkpoint's file is damaged, or its weights do not fit."""

    code = "checkpoint_error"


class TrainingError(FinetuneError):
    """The loss is no number any more."""

    code = "training_error"


class ExportError(FinetuneError):
    """The model cannot be written in a form that a worker serves."""

    code = "export_error"


class ParityError(ExportError):
    """The exported worker and the trainer differ on the same input: the export is taken back."""

    code = "parity_error"
