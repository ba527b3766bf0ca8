from __future__ import annotations

import pytest

from fastmlp.kernels.compiler import caches

pytestmark = pytest.mark.once

USUAL = {
    "index0": ("1", "Data", "32K"),
    "index1": ("1", "Instruction", "64K"),
    "index2": ("2", "Unified", "512K"),
    "index3": ("3", "Unified", "32M"),
}


@pytest.fixture
def told(monkeypatch, tmp_path):
    """Have the system tell of caches, as (level, type, size) by the name of the folder."""

    def tell(kinds):
        for name, texts in kinds.items():
            (tmp_path / name).mkdir()
            for file, text in zip(("level", "type", "size"), texts):
                (tmp_path / name / file).write_text(f"{text}\n")
        monkeypatch.setattr(caches, "CACHES", tmp_path)
        caches.level_2_bytes.cache_clear()

    yield tell
    caches.level_2_bytes.cache_clear()


@pytest.mark.parametrize(("size", "expected"), [("512K", 2**19), ("1024K", 2**20), ("1280K", 1280 * 2**10), ("2M", 2**21)])
def test_the_size_is_what_the_system_says(told, size, expected):
    told(USUAL | {"index2": ("2", "Unified", size)})
    assert caches.level_2_bytes() == expected


@pytest.mark.parametrize("size", ["", "0K", "-1K", "512", "much", "99999999M"])
def test_a_size_that_is_none_is_not_taken(told, size):
    told(USUAL | {"index2": ("2", "Unified", size)})
    assert caches.level_2_bytes() == caches.LEVEL_2_BYTES


def test_caches_of_instructions_and_of_other_levels_are_passed_over(told):
    told({"index0": ("2", "Instruction", "128K"), "index1": ("1", "Data", "32K"), "index2": ("2", "Data", "256K")})
    assert caches.level_2_bytes() == 2**18


def test_where_nothing_is_told_there_is_a_usual_size(told):
    told({})
    assert caches.level_2_bytes() == caches.LEVEL_2_BYTES


def test_that_of_this_machine_is_one_of_a_processor():
    assert 2**17 <= caches.level_2_bytes() <= 2**26
