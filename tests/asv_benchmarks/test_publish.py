from __future__ import annotations

import re
from pathlib import Path

import asv
import pytest
from commands.paths import HERE
from commands.publish import EVENLY, evenly_spaced, with_local_scripts

INDEX = Path(asv.__file__).parent / "www" / "index.html"


def test_nothing_is_loaded_from_elsewhere():
    page, used = with_local_scripts(INDEX.read_text())
    assert not re.findall(r'<(?:script|link)[^>]*(?:src|href)="https?:', page)
    assert len(used) == len(set(used)) == 8
    for place in used:
        assert f'"vendor/{Path(place).name}"' in page
    assert (HERE / "dashboard" / "stand_ins.js").exists()


def test_asvs_own_scripts_stay():
    page, _ = with_local_scripts(INDEX.read_text())
    assert page.index("vendor/jquery-") < page.index("vendor/jquery.flot.min.js") < page.index('src="asv.js"')


def test_an_unknown_script_is_refused():
    with pytest.raises(SystemExit, match=r"https://example\.org/new\.js"):
        with_local_scripts('<script src="https://example.org/new.js"></script>')


def test_commits_are_drawn_at_even_distances():
    for name, (before, after) in EVENLY.items():
        text = evenly_spaced(name, (INDEX.parent / name).read_text())
        assert after in text
        assert before not in text
        with pytest.raises(SystemExit, match=f"asv's {name} has no"):
            evenly_spaced(name, text)
