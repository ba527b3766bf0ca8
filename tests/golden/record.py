"""The golden files: one for each entry of the registry, and one for whole networks.

A file is an .npz of two arrays, both bytes: ``index``, JSON that says which PyTorch made it, of which cases, and what lies in
``data``, all arrays one behind the other. As arrays of their own they would take twice the room. Numbers that are float32's lie
as such, whatever their dtype: most inputs are.
"""

from __future__ import annotations

import io
import json
import zipfile
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from fastmlp import registry

__all__ = ["FOLDER", "NETWORKS", "Record", "index", "is_current", "load", "save"]

FOLDER = Path(__file__).parent

#: Files that belong to no entry of the registry.
NETWORKS = ("Network",)

#: Inputs and outputs, by name.
Record = dict[str, np.ndarray]


def _cases(name: str) -> list[dict[str, Any]]:
    """The cases of an entry as JSON has them, where a tuple is a list, and a function its name."""
    entry = registry.entries().get(name)
    return [] if entry is None else json.loads(json.dumps(entry.cases, default=_plain))


def _plain(value: Any) -> Any:
    return [_plain(value.func), value.keywords] if isinstance(value, partial) else value.__name__


def save(name: str, records: dict[str, Record], torch: str) -> Path:
    """Write the records of an entry: the same bytes each time, since no file in the archive has a date."""
    arrays = {(part, key): np.asarray(array) for part, record in records.items() for key, array in record.items()}
    arrays = {place: array.astype(array.dtype.newbyteorder("<")) for place, array in arrays.items()}
    kept = {place: _narrowed(array) for place, array in arrays.items()}
    what = [[*place, array.dtype.str, kept[place].dtype.str, array.shape] for place, array in arrays.items()]
    about = json.dumps({"torch": torch, "cases": _cases(name), "arrays": what})
    members = {
        "index": np.frombuffer(about.encode(), np.uint8),
        "data": np.frombuffer(b"".join(array.tobytes() for array in kept.values()), np.uint8),
    }
    path = FOLDER / f"{name}.npz"
    with zipfile.ZipFile(path, "w") as archive:
        for member, array in members.items():
            content = io.BytesIO()
            np.lib.format.write_array(content, array, allow_pickle=False)
            entry = zipfile.ZipInfo(f"{member}.npy")  # of 1980, as ZipInfo has it
            entry.compress_type = zipfile.ZIP_DEFLATED
            archive.writestr(entry, content.getvalue(), compresslevel=9)
    return path


def _narrowed(array: np.ndarray) -> np.ndarray:
    """An array as float32, if that loses no bit of it."""
    if array.dtype != np.float64:
        return array
    with np.errstate(all="ignore"):
        narrow = array.astype("<f4")
    return narrow if narrow.astype("<f8").tobytes() == array.tobytes() else array


def index(name: str) -> dict[str, Any]:
    """What a file says about itself: ``torch``, ``cases``, ``arrays``."""
    with np.load(FOLDER / f"{name}.npz", allow_pickle=False) as file:
        return json.loads(file["index"].tobytes())


def load(name: str) -> dict[str, Record]:
    """The records in a file, by name.

    Raises
    ------
    FileNotFoundError, ValueError
        If there is no file, or one of other cases than the entry has now; both say what to do.
    """
    path = FOLDER / f"{name}.npz"
    if not path.exists():
        raise FileNotFoundError(f"there is no tests/golden/{name}.npz: `make golden` makes it")
    about = index(name)
    if about["cases"] != _cases(name):
        raise ValueError(f"tests/golden/{name}.npz is not of the cases that {name} has now: `make golden` makes it anew")
    with np.load(path, allow_pickle=False) as file:
        data = file["data"].tobytes()
    records: dict[str, Record] = {}
    place = 0
    for part, key, dtype, kept, shape in about["arrays"]:
        count = int(np.prod(shape, dtype=np.int64))
        array = np.frombuffer(data, kept, count, place).reshape(shape)
        place += array.nbytes
        records.setdefault(part, {})[key] = array.astype(np.dtype(dtype).newbyteorder("="))
    return records


def is_current(name: str) -> bool:
    """Whether an entry has a file of its cases."""
    try:
        load(name)
    except (FileNotFoundError, ValueError):
        return False
    return True
