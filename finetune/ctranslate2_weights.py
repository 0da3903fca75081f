"""The variables in a CTranslate2 model.bin, as numbers that can be trained again. Knows no model.

The format is that of `ctranslate2.specs.model_spec.ModelSpec._serialize`; in Python the library only writes it.
"""

from __future__ import annotations

import struct
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from finetune.errors import ConfigError

Variable: TypeAlias = NDArray[Any]

VERSION = 6
TYPES = ("float32", "int8", "int16", "int32", "float16", "bfloat16")
"""In the order of CTranslate2's enum DataType."""
SCALE = "_scale"
"""Behind the name of a quantised variable: what its rows, or all of it, were multiplied by."""


def read(path: Path) -> tuple[str, dict[str, Variable]]:
    """The specification's name, such as WhisperSpec, and all variables by name; aliases are the same array.

    Quantised ones are float32 again, half-precision ones too; scalars have shape (). Raises ConfigError.
    """
    try:
        return _read(_Bytes(path.read_bytes()))
    except OSError as error:
        raise ConfigError(f"{path} cannot be read: {error.strerror}") from error
    except (struct.error, ValueError, IndexError, UnicodeDecodeError, KeyError) as error:
        raise ConfigError(f"{path} is not a whole CTranslate2 model of format {VERSION}: {error}") from error


class _Bytes:
    """A file's bytes, taken from the front."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._at = 0

    def number(self, form: str) -> int:
        """One number of `struct`'s form; all are little-endian."""
        (value,) = struct.unpack_from(f"<{form}", self._data, self._at)
        self._at += struct.calcsize(f"<{form}")
        return int(value)

    def text(self) -> str:
        """A length, and as many bytes of which the last is 0."""
        return self.some(self.number("H"))[:-1].decode()

    def some(self, count: int) -> bytes:
        """The next bytes. Raises ValueError where there are fewer."""
        found = self._data[self._at : self._at + count]
        if len(found) < count:
            raise ValueError(f"got {len(found)} bytes, expected {count}")
        self._at += count
        return found


def _read(data: _Bytes) -> tuple[str, dict[str, Variable]]:
    if (version := data.number("I")) != VERSION:
        raise ValueError(f"got format {version}")
    name = data.text()
    data.number("I")  # revision of the specification
    stored = dict(_variable(data) for _ in range(data.number("I")))
    found = {
        key: _plain(value, stored.get(key + SCALE))
        for key, value in stored.items()
        if not (key.endswith(SCALE) and key.removesuffix(SCALE) in stored)
    }
    for _ in range(data.number("I")):
        alias, other = data.text(), data.text()
        if other in found:  # else it is the scale of a quantised alias
            found[alias] = found[other]
    return name, found


def _variable(data: _Bytes) -> tuple[str, Variable]:
    name = data.text()
    shape = [data.number("I") for _ in range(data.number("B"))]
    kind = TYPES[data.number("B")]
    content = data.some(data.number("I"))
    if kind == "bfloat16":  # the upper half of a float32
        wide = np.frombuffer(content, "<u2").astype(np.uint32) << 16
        return name, wide.view(np.float32).reshape(shape)
    return name, np.frombuffer(content, np.dtype(kind).newbyteorder("<")).reshape(shape)


def _plain(value: Variable, scale: Variable | None) -> Variable:
    """float32 where it was a number with a fraction."""
    if scale is None:
        return value.astype(np.float32) if value.dtype == np.float16 else value
    rows = scale.reshape(-1, *[1] * (value.ndim - 1)) if scale.ndim else scale
    wide: Variable = value.astype(np.float32) / rows
    return wide
