"""STAND-IN for what is used of a CPU tensor, over numpy, so that the tests need no torch."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]


class Tensor:
    """An array that answers as a tensor on the CPU would."""

    def __init__(self, data: Array) -> None:
        self._data = data

    @property
    def shape(self) -> tuple[int, ...]:
        return self._data.shape

    @property
    def nbytes(self) -> int:
        return int(self._data.nbytes)

    def new_ones(self, shape: tuple[int, ...]) -> Tensor:
        """Ones of the same type."""
        return Tensor(np.ones(shape, dtype=self._data.dtype))

    def cpu(self) -> Tensor:
        return self

    def numpy(self) -> Array:
        return self._data

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> Array:
        return np.array(self._data, dtype=dtype) if copy else np.asarray(self._data, dtype=dtype)
