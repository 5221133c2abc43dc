"""The forms that detectors take on disk: JSON without loss, checked when it is read."""

import math
from collections.abc import Mapping
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray
from pydantic import ConfigDict, TypeAdapter, ValidationError
from pydantic.dataclasses import dataclass

from regimes.base import Array, RegimeError

__all__ = ["FORMAT", "STRICT", "ArrayDocument", "arrays_of", "documents_of", "read", "write"]

FORMAT = 1
"""Version of the documents' form."""
STRICT = ConfigDict(extra="forbid", ser_json_inf_nan="strings")
_Document = TypeVar("_Document")


@dataclass(frozen=True, kw_only=True, config=STRICT)
class ArrayDocument:
    """An array of float64; NaN and infinities are the texts "NaN", "Infinity", "-Infinity"."""

    shape: tuple[int, ...]
    """Its shape."""
    values: tuple[float, ...]
    """Its values in C order, each in the shortest form that reads back as the same float."""

    def __post_init__(self) -> None:
        if min(self.shape, default=0) < 0 or math.prod(self.shape) != len(self.values):
            raise ValueError(
                f"expected {math.prod(self.shape)} values of the shape {self.shape}, found "
                f"{len(self.values)}"
            )

    @classmethod
    def of(cls, array: NDArray[np.generic]) -> "ArrayDocument":
        """Write an array down."""
        return cls(shape=array.shape, values=tuple(array.astype(np.float64).ravel().tolist()))

    @property
    def array(self) -> Array:
        """The array, a new one."""
        return np.array(self.values, np.float64).reshape(self.shape)


def documents_of(arrays: Mapping[str, Array]) -> dict[str, ArrayDocument]:
    """Documents of arrays by name."""
    return {name: ArrayDocument.of(array) for name, array in arrays.items()}


def arrays_of(documents: Mapping[str, ArrayDocument]) -> dict[str, Array]:
    """Arrays of documents by name."""
    return {name: document.array for name, document in documents.items()}


def write(adapter: TypeAdapter[_Document], document: _Document) -> str:
    """JSON text of a document."""
    return adapter.dump_json(document).decode() + "\n"


def read(adapter: TypeAdapter[_Document], text: str, what: str) -> _Document:
    """Read and validate a document.

    Raises:
        RegimeError: names the first faulty path, what was expected and what was found.
    """
    try:
        return adapter.validate_json(text)
    except ValidationError as error:
        fault = error.errors(include_url=False)[0]
        path = ".".join(map(str, fault["loc"])) or "text"
        found = f"{fault['input']!r}"[:80]
        message = fault["msg"].removeprefix("Value error, ")
        raise RegimeError(f"{what} JSON: {path}: {message}, found {found}") from error
