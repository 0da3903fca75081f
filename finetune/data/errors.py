"""Errors of data for training; they hang below ParleyError, so that one catch shows them all.

DataError              data that cannot be used as it is; the message says which
├── ManifestError      a line that is no row: file, line, field, what was expected
└── LeakageError       what is tested is in the training data, so that figures would be too good
"""

from __future__ import annotations

from app.errors import ParleyError


class DataError(ParleyError):
    """Data on disk that cannot be read, imported, split or changed."""

    code = "data_error"


class ManifestError(DataError):
    """A line of a manifest, or of a corpus that is being imported, that does not say what it must."""

    code = "manifest_error"


class LeakageError(DataError):
    """Splits that share speakers, texts or recordings."""

    code = "leakage"
