from __future__ import annotations

import json
import struct

import numpy as np
import pytest
from helpers import assert_same_bits

import fastmlp as fm
from fastmlp.saving.tensors import pieces_of, read_file

#: Every dtype that the format and NumPy have, odd shapes, odd names, orders that are not C's.
ARRAYS = {
    **{kind: np.arange(7).astype(kind) for kind in ("<f8", "<f4", "<f2", "<i8", "<i4", "<i2", "i1", "<u8", "<u4", "<u2", "u1")},
    "big": np.arange(3, dtype=">f4"),
    "bool": np.array([True, False, True]),
    "scalar": np.array(-0.0),
    "none": np.zeros((3, 0, 2), np.float32),
    "transposed": np.arange(6, dtype=np.float32).reshape(2, 3).T,
    "strided": np.arange(10.0)[::3],
    'odd "\\ ü\n\x00': np.array([np.nan, np.inf, 5e-324]),
    "": np.array([1], np.int64),
}


def written(tensors, text="{}"):
    return b"".join(bytes(piece) for piece in pieces_of(tensors, text))


def raw(header, numbers=b""):
    """A file by hand."""
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + numbers


def test_arrays_come_back(tmp_path):
    path = tmp_path / "file"
    path.write_bytes(written(ARRAYS, "text"))
    arrays, metadata = read_file(path)
    assert arrays.keys() == ARRAYS.keys()
    for name, array in ARRAYS.items():
        assert_same_bits(arrays[name], array.astype(array.dtype.newbyteorder("=")))
        assert arrays[name].flags.writeable
        assert arrays[name].flags.aligned
        assert arrays[name].flags.c_contiguous
    assert metadata["fastmlp"] == "text"
    assert fm.load_arrays(path).keys() == ARRAYS.keys()


def test_layout_is_that_of_the_format(tmp_path):
    content = written({"b": np.array([1, 2], np.int8), "a": np.array([[1.5, 2.5]], np.float32)})
    (length,) = struct.unpack("<Q", content[:8])
    assert length % 8 == 0
    header = json.loads(content[8 : 8 + length])
    assert header.pop("__metadata__").keys() == {"format", "fastmlp", "crc32"}
    assert header == {
        "a": {"dtype": "F32", "shape": [1, 2], "data_offsets": [0, 8]},
        "b": {"dtype": "I8", "shape": [2], "data_offsets": [8, 10]},
    }
    assert content[8 + length :] == struct.pack("<ff", 1.5, 2.5) + b"\x01\x02"


def test_safetensors_reads_what_we_write_and_we_what_it_writes(tmp_path):
    """The format's own library as the oracle."""
    numpy = pytest.importorskip("safetensors.numpy")
    path = tmp_path / "file"
    native = {name: np.ascontiguousarray(array.astype(array.dtype.newbyteorder("="))) for name, array in ARRAYS.items()}
    path.write_bytes(written(ARRAYS))
    for name, array in numpy.load_file(path).items():
        assert_same_bits(array, native[name])
    numpy.save_file(native, path, metadata={"key": "value"})
    arrays, metadata = read_file(path)
    assert metadata == {"key": "value"}
    assert arrays.keys() == native.keys()
    for name, array in arrays.items():
        assert_same_bits(array, native[name])


@pytest.mark.torch
def test_torch_reads_what_we_save_and_we_what_it_saves(tmp_path):
    torch = pytest.importorskip("torch")
    oracle = pytest.importorskip("safetensors.torch")
    path = tmp_path / "file"
    model = fm.Sequential(fm.Linear(3, 5), fm.BatchNorm1d(5), fm.Dropout(0.2), fm.PReLU(), fm.Linear(5, 2))
    theirs = torch.nn.Sequential(
        torch.nn.Linear(3, 5), torch.nn.BatchNorm1d(5), torch.nn.Dropout(0.2), torch.nn.PReLU(), torch.nn.Linear(5, 2)
    )
    model(np.random.default_rng(0).standard_normal((9, 3)))
    fm.save(path, model)
    theirs.load_state_dict(oracle.load_file(path))
    x = np.random.default_rng(1).standard_normal((4, 3)).astype(np.float32)
    expected = theirs.eval()(torch.from_numpy(x)).detach().numpy()
    np.testing.assert_allclose(model.eval().predict(x), expected, rtol=1e-5, atol=1e-6)
    theirs.double()
    oracle.save_file(theirs.state_dict(), path)
    again = fm.Sequential(fm.Linear(3, 5), fm.BatchNorm1d(5), fm.Dropout(0.2), fm.PReLU(), fm.Linear(5, 2))
    again.load_state_dict(fm.load_arrays(path))
    assert_same_bits(again.eval().predict(x), model.predict(x))
    oracle.save_file({"x": torch.zeros(2, dtype=torch.bfloat16)}, path)
    with pytest.raises(fm.LoadError, match="'x' has the dtype 'BF16', which NumPy lacks: convert it to F32"):
        fm.load_arrays(path)


ENTRY = {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]}

#: Files that break a rule, with what is said.
BROKEN = {
    "empty": (b"", "no safetensors file, or cut off"),
    "short": (b"1234567", "no safetensors file, or cut off"),
    "long header": (struct.pack("<Q", 2**63) + b"{}", "no safetensors file, or cut off"),
    "pickle": (b"\x80\x04" + bytes(100), "no safetensors file"),
    "list": (raw(b"[]"), "does not begin with {"),
    "no JSON": (raw(b"{]"), "its header is no JSON"),
    "no UTF-8": (raw(b'{"\xff": 1}'), "its header is no JSON"),
    "bomb": (raw(b'{"a":' * 100_000), "its header is no JSON"),
    "digits": (raw(b'{"a":' + b"9" * 10_000 + b"}"), "its header is no JSON"),
    "key twice": (raw(b'{"a": 1, "a": 1}'), "has a key twice"),
    "metadata": (raw({"__metadata__": {"a": 1}}), "its metadata are not text"),
    "metadata list": (raw({"__metadata__": []}), "its metadata are not text"),
    "no entry": (raw({"a": 3}), "'a' has no dtype, shape and data_offsets"),
    "more": (raw({"a": ENTRY | {"more": 1}}, bytes(8)), "'a' has no dtype, shape and data_offsets"),
    "dtype": (raw({"a": ENTRY | {"dtype": "BF16"}}, bytes(8)), "dtype 'BF16', which NumPy lacks"),
    "dtype list": (raw({"a": ENTRY | {"dtype": []}}, bytes(8)), "which NumPy lacks"),
    "negative": (raw({"a": ENTRY | {"shape": [-2, -1]}}, bytes(8)), "no whole numbers"),
    "fraction": (raw({"a": ENTRY | {"shape": [2.0]}}, bytes(8)), "no whole numbers"),
    "truth": (raw({"a": ENTRY | {"shape": [2, True]}}, bytes(8)), "no whole numbers"),
    "axes": (raw({"a": ENTRY | {"shape": [1] * 60 + [2]}}, bytes(8)), "no whole numbers"),
    "three places": (raw({"a": ENTRY | {"data_offsets": [0, 4, 8]}}, bytes(8)), "no whole numbers"),
    "size": (raw({"a": ENTRY | {"shape": [3]}}, bytes(8)), "not as many bytes as its shape"),
    "huge": (raw({"a": ENTRY | {"shape": [2**62, 2**62]}}, bytes(8)), "not as many bytes as its shape"),
    "gap": (raw({"a": ENTRY | {"data_offsets": [8, 16]}}, bytes(16)), "the numbers before it end at 0"),
    "overlap": (raw({"a": ENTRY, "b": ENTRY | {"data_offsets": [4, 12]}}, bytes(12)), "the numbers before it end at 8"),
    "same": (raw({"a": ENTRY, "b": ENTRY}, bytes(8)), "the numbers before it end at 8"),
    "cut off": (raw({"a": ENTRY}, bytes(7)), "cut off: the numbers take 8 bytes, the file has 7"),
    "rest": (raw({"a": ENTRY}, bytes(9)), "the numbers take 8 bytes, the file has 9"),
    "no bool": (raw({"a": {"dtype": "BOOL", "shape": [2], "data_offsets": [0, 2]}}, b"\x01\x02"), "neither true nor false"),
}


def test_files_that_break_a_rule_are_refused(tmp_path):
    path = tmp_path / "file"
    for content, message in BROKEN.values():
        path.write_bytes(content)
        with pytest.raises(fm.LoadError) as caught:
            fm.load_arrays(path)
        assert message in str(caught.value)
        assert str(caught.value).startswith(str(path))
    with pytest.raises(FileNotFoundError):
        fm.load_arrays(tmp_path / "nowhere")


def test_header_is_no_longer_than_the_format_allows(tmp_path, monkeypatch):
    from fastmlp.saving import tensors

    content = written({"a": np.zeros(3)})
    (tmp_path / "file").write_bytes(content)
    monkeypatch.setattr(tensors, "LONGEST_HEADER", 50)
    with pytest.raises(fm.LoadError, match=r"a header of .* bytes, where the format allows 50"):
        read_file(tmp_path / "file")
    with pytest.raises(ValueError, match="a file has room for 50"):
        written({"a": np.zeros(3)})


def test_dtypes_that_the_format_lacks_are_refused():
    for array in (np.array([1j]), np.array(["a"]), np.array([None])):
        with pytest.raises(TypeError, match="cannot be saved"):
            written({"a": array})
