"""The safetensors format: named arrays and named texts in one file, read and written with NumPy alone.

Eight bytes say how long the header is; the header is a JSON object with dtype, shape and place of each tensor; then come their
numbers, little-endian, rows first, without gaps. https://github.com/huggingface/safetensors
"""

from __future__ import annotations

import json
import math
import os
import zlib
from collections.abc import Iterator, Mapping
from typing import Any, BinaryIO

import numpy as np

from fastmlp import checks
from fastmlp.saving.errors import LoadError

__all__ = ["CHECK_SUM", "METADATA", "TEXT", "check_sum", "load_arrays", "pieces_of", "read_file", "unique"]

#: What the format calls dtypes.
DTYPES = {
    "F64": "<f8",
    "F32": "<f4",
    "F16": "<f2",
    "I64": "<i8",
    "I32": "<i4",
    "I16": "<i2",
    "I8": "|i1",
    "U64": "<u8",
    "U32": "<u4",
    "U16": "<u2",
    "U8": "|u1",
    "BOOL": "|b1",
}
NAMES = {np.dtype(dtype): name for name, dtype in DTYPES.items()}

#: The longest header that the format allows, in bytes.
LONGEST_HEADER = 100_000_000

#: Axes of an array that every NumPy has.
MOST_AXES = 32

METADATA = "__metadata__"
#: The keys of the metadata: the text that says what the tensors belong to, and the check sum of both.
TEXT, CHECK_SUM = "fastmlp", "crc32"


def pieces_of(tensors: Mapping[str, np.ndarray], text: str) -> Iterator[Any]:
    """The file of these arrays and this text, in pieces: the widest dtypes first, so that all lie aligned."""
    arrays = {name: _as_stored(tensors[name]) for name in sorted(tensors, key=lambda name: -tensors[name].dtype.itemsize)}
    # PyTorch's readers ask for the format, "pt".
    header: dict[str, Any] = {METADATA: {"format": "pt", TEXT: text, CHECK_SUM: check_sum(arrays, text)}}
    at = 0
    for name, array in arrays.items():
        place = [at, at + array.nbytes]
        header[name] = {"dtype": NAMES[array.dtype], "shape": list(array.shape), "data_offsets": place}
        at = place[1]
    encoded = json.dumps(header, separators=(",", ":")).encode()
    encoded += b" " * (-len(encoded) % 8)
    if len(encoded) > LONGEST_HEADER:
        raise ValueError(f"the description of the model takes {len(encoded):,} bytes; a file has room for {LONGEST_HEADER:,}")
    yield len(encoded).to_bytes(8, "little") + encoded
    for array in arrays.values():
        yield _bytes_of(array)


def check_sum(arrays: Mapping[str, np.ndarray], text: str) -> str:
    """A check sum (CRC-32) of names, shapes, numbers and the text, in whatever order the file has them."""
    total = zlib.crc32(text.encode("utf-8", "surrogatepass"))
    for name in sorted(arrays):
        head = repr((name, NAMES[arrays[name].dtype], arrays[name].shape))
        total = zlib.crc32(_bytes_of(arrays[name]), zlib.crc32(head.encode(), total))
    return f"{total:08x}"


def read_file(path: str | os.PathLike[str]) -> tuple[dict[str, np.ndarray], dict[str, str]]:
    """The arrays and the metadata of a file.

    Raises
    ------
    LoadError
        For a file that breaks a rule of the format. No more memory is taken than a small multiple of the file's size.
    """
    with open(path, "rb") as file:
        try:
            return _read(file)
        except LoadError as error:
            raise LoadError(f"{os.fspath(path)}: {error}") from error.__cause__


def load_arrays(path: str | os.PathLike[str]) -> dict[str, np.ndarray]:
    """The arrays of a safetensors file by name, whoever wrote it: PyTorch's ``state_dict``, say.

    Parameters
    ----------
    path : str or path
        The file.

    Returns
    -------
    dict of str to ndarray
        What ``model.load_state_dict`` takes.

    Raises
    ------
    LoadError
        For a file that is none of that format, and dtypes that NumPy lacks.
    OSError
        Where it cannot be read.

    Examples
    --------
    >>> import os, tempfile, fastmlp as fm
    >>> path = os.path.join(tempfile.mkdtemp(), "model.safetensors")
    >>> fm.save(path, fm.Sequential(fm.Linear(2, 3), fm.ReLU()))
    >>> {name: array.shape for name, array in fm.load_arrays(path).items()}
    {'0.weight': (3, 2), '0.bias': (3,)}
    """
    return read_file(path)[0]


def _as_stored(array: np.ndarray) -> np.ndarray:
    """An array as it lies in a file."""
    array = np.asarray(array, array.dtype.newbyteorder("<"), order="C")
    if array.dtype not in NAMES:
        raise TypeError(f"arrays of dtype {array.dtype} cannot be saved")
    return array


def _bytes_of(array: np.ndarray) -> memoryview:
    """The memory of an array."""
    return memoryview(array.reshape(-1).view(np.uint8))  # type: ignore[arg-type]


def unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """A JSON object whose keys differ: of readers, some would take the first of two, some the last."""
    result = dict(pairs)
    if len(result) < len(pairs):
        raise LoadError("damaged: an object of its JSON has a key twice")
    return result


def _read(file: BinaryIO) -> tuple[dict[str, np.ndarray], dict[str, str]]:
    size = os.fstat(file.fileno()).st_size
    start = file.read(8)
    length = int.from_bytes(start, "little")
    if len(start) < 8 or length > size - 8:
        raise LoadError("no safetensors file, or cut off: it ends before its header does")
    if length > LONGEST_HEADER:
        raise LoadError(f"damaged: a header of {length:,} bytes, where the format allows {LONGEST_HEADER:,}")
    header = _header_of(file.read(length))
    metadata = header.pop(METADATA, {})
    if not isinstance(metadata, dict) or not all(isinstance(value, str) for value in metadata.values()):
        raise LoadError("damaged: its metadata are not text")
    entries = {name: _Entry(name, entry) for name, entry in header.items()}
    at, arrays = 0, dict.fromkeys(entries)
    for name, entry in sorted(entries.items(), key=lambda item: (item[1].first, item[1].last)):
        if entry.first != at:
            raise LoadError(f"damaged: {checks.shown(name)} lies at {entry.first}, the numbers before it end at {at}")
        at = entry.last
    if at != size - 8 - length:
        raise LoadError(f"damaged, or cut off: the numbers take {at:,} bytes, the file has {size - 8 - length:,}")
    for name, entry in sorted(entries.items(), key=lambda item: (item[1].first, item[1].last)):
        arrays[name] = entry.read(file)
    return arrays, metadata  # type: ignore[return-value]


def _header_of(encoded: bytes) -> dict[str, Any]:
    """The header, which is a JSON object."""
    if encoded[:1] != b"{":
        raise LoadError("no safetensors file: its header does not begin with {")
    try:
        return json.loads(encoded.decode("utf-8"), object_pairs_hook=unique)
    except LoadError:
        raise
    except (ValueError, RecursionError) as error:
        raise LoadError("damaged: its header is no JSON") from error


class _Entry:
    """What a header says of a tensor, checked."""

    def __init__(self, name: str, entry: Any):
        self.name = checks.shown(name)
        if not isinstance(entry, dict) or entry.keys() != {"dtype", "shape", "data_offsets"}:
            raise LoadError(f"damaged: {self.name} has no dtype, shape and data_offsets")
        dtype, shape, place = entry["dtype"], entry["shape"], entry["data_offsets"]
        if not isinstance(dtype, str) or dtype not in DTYPES:
            raise LoadError(
                f"{self.name} has the dtype {checks.shown(dtype)}, which NumPy lacks: convert it to F32 where it was written"
            )
        if not _are_sizes(shape) or len(shape) > MOST_AXES or not _are_sizes(place) or len(place) != 2:
            raise LoadError(f"damaged: shape or data_offsets of {self.name} are no whole numbers of at least 0")
        self.dtype, self.shape, (self.first, self.last) = np.dtype(DTYPES[dtype]), tuple(shape), place
        if self.last - self.first != math.prod(shape) * self.dtype.itemsize:
            raise LoadError(f"damaged: {self.name} has not as many bytes as its shape {checks.shown(self.shape)} takes")

    def read(self, file: BinaryIO) -> np.ndarray:
        """The numbers, which come next in the file."""
        as_bytes = self.dtype.kind == "b"
        array = np.empty(self.shape, np.uint8 if as_bytes else self.dtype)
        if array.size and file.readinto(_bytes_of(array)) != array.nbytes:  # type: ignore[attr-defined]
            raise LoadError("the file has become shorter while it was read")
        if as_bytes:
            if (array > 1).any():
                raise LoadError(f"damaged: {self.name} has entries that are neither true nor false")
            array = array.view(np.bool_)
        return array.astype(self.dtype.newbyteorder("="), copy=False)


def _are_sizes(values: Any) -> bool:
    return isinstance(values, list) and all(type(value) is int and value >= 0 for value in values)
