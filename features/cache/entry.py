"""One entry: a feature's values of one data set, in the form of a .npy file with a checksum.

    npy header | float64 values (K, A, T), little-endian | b"PERENNIA" | checksum, 8 bytes

`numpy.load` reads such a file as it is. The checksum begins with the entry's key, so that a file
under another name is found out, too.

Dimensions: K columns, A assets (1 for a shared feature), T bars, N words.
"""

import io
from dataclasses import dataclass
from functools import lru_cache
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from markets.compiled import kernel

__all__ = ["Array", "DataInfo", "Entry", "Kept", "Store", "decode", "encode"]

Array = NDArray[np.float64]
_MARK = b"PERENNIA"
_MULTIPLIER = np.uint64(0x9E3779B97F4A7C15)  # odd: a changed word changes the sum
_PRIME = 2**64 - 59
_JOINER = np.uint64(0xC2B2AE3D27D4EB4F)  # another one, so that no two places weigh the same


@dataclass(frozen=True)
class Entry:
    """Name of an entry and the form of its values."""

    data: str
    """SHA-256 of the data."""
    key: str
    """SHA-256 of all that decides the values."""
    shape: tuple[int, int, int]
    """K, A, T."""

    @property
    def nbytes(self) -> int:
        """Size of the encoded entry."""
        columns, assets, bars = self.shape
        return len(_header(self.shape)) + 8 * columns * assets * bars + len(_MARK) + 8


@dataclass(frozen=True)
class DataInfo:
    """Entries of one data set."""

    data: str
    """Its SHA-256."""
    description: str
    """Its symbols, bars and span, for people."""
    entries: int
    """Number of entries."""
    nbytes: int
    """Their size."""
    last_used: float
    """When one of them was last read or written, seconds since 1970."""


@dataclass(frozen=True)
class Kept:
    """What a store holds."""

    place: str
    """Folder or server."""
    cap_bytes: int
    """Most bytes kept."""
    data: tuple[DataInfo, ...]
    """By data set, the last used first."""

    @property
    def entries(self) -> int:
        """Number of entries."""
        return sum(info.entries for info in self.data)

    @property
    def nbytes(self) -> int:
        """Size of all entries."""
        return sum(info.nbytes for info in self.data)


class Store(Protocol):
    """Where entries are kept; safe for any number of processes."""

    def read(self, entry: Entry, out_KAT: Array) -> bool:
        """Fill an array of the entry's shape, C-contiguous; False where there is no sound entry."""
        ...

    def write(self, entry: Entry, values_KAT: Array, description: str) -> None:
        """Keep an entry; `description` is the data's, for people."""
        ...

    def tidy(self) -> int:
        """Remove the least recently used entries beyond the cap; returns how many."""
        ...

    def kept(self) -> Kept:
        """What there is."""
        ...

    def clear(self, older_than: float = 0.0) -> tuple[int, int]:
        """Remove entries not used for so many seconds; returns their number and bytes."""
        ...


class Readable(Protocol):
    """A binary file that can be read into memory."""

    def read(self, size: int, /) -> bytes:
        """At most so many bytes."""
        ...

    def readinto(self, into: memoryview, /) -> int:
        """Fill memory; returns how many bytes there were."""
        ...


def encode(entry: Entry, values_KAT: Array) -> tuple[bytes, memoryview, bytes]:
    """The three parts of an entry, to be written one after the other."""
    values_KAT = np.ascontiguousarray(values_KAT, "<f8")
    check = _checksum(values_KAT.reshape(-1).view(np.uint64), _seed(entry))
    return _header(entry.shape), _bytes(values_KAT), _MARK + int(check).to_bytes(8, "little")


def decode(entry: Entry, file: Readable, out_KAT: Array) -> bool:
    """Read an entry into an array; False where anything of it is not as it was written.

    Read, not mapped: mapped pages of a file that is cut short meanwhile kill the process, and the
    values are copied into one array in any case.
    """
    header = _header(entry.shape)
    if file.read(len(header)) != header:
        return False
    if file.readinto(_bytes(out_KAT)) != out_KAT.nbytes:
        return False
    trailer = file.read(len(_MARK) + 9)
    check = _checksum(out_KAT.reshape(-1).view(np.uint64), _seed(entry))
    return trailer == _MARK + int(check).to_bytes(8, "little")


@lru_cache(maxsize=256)
def _header(shape: tuple[int, int, int]) -> bytes:
    buffer = io.BytesIO()
    facts = {"descr": "<f8", "fortran_order": False, "shape": shape}
    np.lib.format.write_array_header_1_0(buffer, facts)
    return buffer.getvalue()


def _bytes(values: Array) -> memoryview:
    return values.data.cast("B")


def _seed(entry: Entry) -> np.uint64:
    return np.uint64(int(entry.key, 16) % _PRIME)


@kernel
def _checksum(words_N: NDArray[np.uint64], seed: np.uint64) -> np.uint64:
    """Four polynomials modulo 2^64, word by word in turn, then one of the four."""
    first, second, third, fourth = seed, seed, seed, seed
    whole = len(words_N) // 4 * 4
    for place in range(0, whole, 4):
        first = first * _MULTIPLIER + words_N[place]
        second = second * _MULTIPLIER + words_N[place + 1]
        third = third * _MULTIPLIER + words_N[place + 2]
        fourth = fourth * _MULTIPLIER + words_N[place + 3]
    for place in range(whole, len(words_N)):
        first = first * _MULTIPLIER + words_N[place]
    return ((first * _JOINER + second) * _JOINER + third) * _JOINER + fourth
