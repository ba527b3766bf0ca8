"""What is read in pieces: files, frames and tables."""

from __future__ import annotations

import numpy as np
import pytest
from helpers import assert_same_bits, make_net

from fastmlp.modules import sequential
from fastmlp.sources import as_source, columns_of, names_of

ROWS = 1000
X = np.random.default_rng(0).random((ROWS, 3)).astype(np.float32)
TEXT = np.array(["a", "b"])[(X[:, 0] > 0.5).astype(int)]
NAMES = ["first", "second", "third", "label"]


def frame_of(folder):
    pandas = pytest.importorskip("pandas")
    return pandas.DataFrame(X, columns=NAMES[:3]).assign(label=TEXT)


def polars_of(folder):
    polars = pytest.importorskip("polars")
    return polars.DataFrame({name: X[:, i] for i, name in enumerate(NAMES[:3])} | {"label": TEXT.tolist()})


def table_of(folder):
    arrow = pytest.importorskip("pyarrow")
    return arrow.table({name: X[:, i] for i, name in enumerate(NAMES[:3])} | {"label": TEXT.tolist()})


def batch_of(folder):
    return table_of(folder).combine_chunks().to_batches()[0]


def parquet_of(folder):
    parquet = pytest.importorskip("pyarrow.parquet")
    parquet.write_table(table_of(folder), folder / "all.parquet", row_group_size=130)
    return parquet.ParquetFile(folder / "all.parquet")


def dataset_of(folder):
    parquet, dataset = pytest.importorskip("pyarrow.parquet"), pytest.importorskip("pyarrow.dataset")
    table = table_of(folder)
    parquet.write_table(table.slice(0, 333), folder / "a.parquet", row_group_size=100)
    parquet.write_table(table.slice(333), folder / "b.parquet")
    return dataset.dataset([folder / "a.parquet", folder / "b.parquet"])


def csv_of(folder):
    pytest.importorskip("pyarrow.csv").write_csv(table_of(folder), folder / "all.csv")
    return pytest.importorskip("pyarrow.dataset").dataset(folder / "all.csv", format="csv")


def memmap_of(folder):
    values = np.memmap(folder / "x", np.float32, "w+", shape=X.shape)
    values[:] = X
    return values


def h5_of(folder):
    return pytest.importorskip("h5py").File(folder / "x.h5", "w").create_dataset("x", data=X, chunks=(64, 3))


def plain_h5_of(folder):
    return pytest.importorskip("h5py").File(folder / "x.h5", "w").create_dataset("x", data=X)


def zarr_of(folder):
    return pytest.importorskip("zarr").create_array(str(folder / "x.zarr"), data=X, chunks=(100, 2))


def dask_of(folder):
    return pytest.importorskip("dask.array").from_array(X, chunks=(90, 3))


NAMED = [frame_of, polars_of, table_of, batch_of, parquet_of, dataset_of, csv_of]
ARRAYS = [memmap_of, h5_of, plain_h5_of, zarr_of, dask_of]

#: Rows that are stored together.
STORED = {h5_of: 64, zarr_of: 100, dask_of: 90}


@pytest.mark.once
@pytest.mark.parametrize("make", NAMED)
def test_columns_are_read_by_name(make, tmp_path):
    values = make(tmp_path)
    assert names_of(values) == NAMES
    inputs, labels = columns_of(values, NAMES[:3]), columns_of(values, ["label"], flat=True)
    assert (inputs.rows, inputs.shape, labels.shape) == (ROWS, (ROWS, 3), (ROWS,))
    for first, last in ((0, ROWS), (0, 1), (99, 101), (129, 261), (332, 334), (7, 777), (999, 1000)):
        if make is csv_of:
            np.testing.assert_allclose(inputs.read(first, last), X[first:last], rtol=1e-6)
        else:
            np.testing.assert_array_equal(inputs.read(first, last), X[first:last])
        assert labels.read(first, last).tolist() == TEXT[first:last].tolist()
    swapped = columns_of(values, ["third", "first"]).read(3, 5)
    np.testing.assert_allclose(swapped, X[3:5, [2, 0]], rtol=1e-6)


@pytest.mark.once
@pytest.mark.parametrize("make", ARRAYS)
def test_arrays_are_read_by_rows(make, tmp_path):
    values = make(tmp_path)
    source = as_source(values)
    assert source.shape == (ROWS, 3)
    assert names_of(values) is None
    for first, last in ((0, ROWS), (63, 65), (7, 777), (999, 1000)):
        np.testing.assert_array_equal(source.read(first, last), X[first:last])
    step = STORED.get(make, 1)
    assert source.edges(1)[:2] == [0, step]
    assert source.edges(250)[:2] == [0, 250 // step * step]
    assert source.edges(250)[-1] == ROWS


@pytest.mark.once
def test_parquet_is_cut_between_row_groups(tmp_path):
    source = as_source(parquet_of(tmp_path))
    assert source.edges(1) == [0, 130, 260, 390, 520, 650, 780, 910, 1000]
    assert source.edges(200) == [0, 260, 520, 780, 1000]
    assert source.edges(5000) == [0, 1000]


@pytest.mark.once
def test_columns_alone_are_sources(tmp_path):
    for values in (frame_of(tmp_path)["label"], polars_of(tmp_path)["label"], table_of(tmp_path)["label"]):
        source = as_source(values)
        assert source.shape == (ROWS,)
        assert source.read(5, 9).tolist() == TEXT[5:9].tolist()


@pytest.mark.once
def test_what_is_in_memory_is_no_source():
    for values in (X, X.tolist(), (1, 2), 3.0, "text", None, np.ma.array(X), object()):
        assert as_source(values) is None


@pytest.mark.parametrize("make", [frame_of, table_of, parquet_of, memmap_of, h5_of, zarr_of])
def test_predict_reads_in_pieces(make, tmp_path, monkeypatch, dtype):
    monkeypatch.setattr(sequential, "PIECE_BYTES", 200 * 3 * np.dtype(dtype).itemsize)
    values = make(tmp_path)
    values = columns_of(values, NAMES[:3]) if names_of(values) else values
    model = make_net([3, 5, 2], dtype=dtype)
    expected = model.predict(X)
    assert_same_bits(model.predict(values), expected)
    out = np.empty_like(expected)
    assert model.predict(values, out=out, threads=2) is out
    assert_same_bits(out, expected)
    with pytest.raises(ValueError, match=r"out must have the shape \(1000, 2\)"):
        model.predict(values, out=out[:5])
    with pytest.raises(ValueError, match=r"expects \(N, 4\); got \(\d+, 3\)"):
        make_net([4, 2], dtype=dtype).predict(values)
    assert model.predict_labels(values).shape == (ROWS,)


def test_predict_of_a_map_into_itself(tmp_path):
    values = memmap_of(tmp_path)
    model = make_net([3, 5, 3])
    expected = model.predict(X)
    assert model.predict(values, out=values) is values
    assert_same_bits(np.asarray(values), expected)
