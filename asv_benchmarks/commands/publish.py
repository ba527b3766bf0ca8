"""Publish asv's results as pages that need no network.

asv's pages load jQuery, flot and Bootstrap from elsewhere. Here they come from packages of the Python package index, and are
copied beside the pages; the three small scripts that no package has are in dashboard/stand_ins.js.
"""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

from asv.benchmarks import Benchmarks
from asv.config import Config
from asv.environment import get_environments
from asv.repo import get_repo
from asv.results import iter_results

from .paths import ASV, HERE, HTML, RESULTS

__all__ = ["main", "with_local_scripts"]

#: Packages that bring the scripts as files; none of them is imported.
PACKAGES = ["js.jquery==3.6.1", "js.jquery_flot==0.8.1", "js.bootstrap==3.1.1"]

#: What asv's index.html loads, by a part of its address, and what takes its place.
SCRIPTS = {
    "code.jquery.com/jquery-": "jquery/resources/jquery-3.6.1.min.js",
    "/jquery.flot.min.js": "jquery_flot/resources/jquery.flot.min.js",
    "/jquery.flot.time.min.js": "jquery_flot/resources/jquery.flot.time.min.js",
    "/jquery.flot.selection.min.js": "jquery_flot/resources/jquery.flot.selection.min.js",
    "/jquery.flot.categories.min.js": "jquery_flot/resources/jquery.flot.categories.min.js",
    "/jquery.flot.orderBars.js": "stand_ins.js",
    "/stupidtable.min.js": "",
    "/md5.min.js": "",
    "/bootstrap.min.js": "bootstrap/resources/js/bootstrap.min.js",
    "/bootstrap.min.css": "bootstrap/resources/css/bootstrap.min.css",
}

#: A script or a style sheet from elsewhere.
LOADED = re.compile(r'<(?:script|link)\b[^>]*\b(?:src|href)="(?P<address>https?://[^"]+)"[^>]*>(?:</script>)?')


def vendored() -> Path:
    """The folder with the packages' files; installed once."""
    folder = ASV / "vendor"
    wanted = "\n".join(PACKAGES)
    stamp = folder / "packages.txt"
    if not stamp.exists() or stamp.read_text() != wanted:
        print("fetching jQuery, flot and Bootstrap", flush=True)
        command = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-deps", "--upgrade"]
        subprocess.run([*command, "--target", str(folder), *PACKAGES], check=True)
        stamp.write_text(wanted)
    return folder / "js"


def with_local_scripts(page: str) -> tuple[str, list[str]]:
    """The page with local files in place of what it loads from elsewhere, and which files those are."""
    used: list[str] = []

    def local(loaded: re.Match) -> str:
        place = next((place for part, place in SCRIPTS.items() if part in loaded["address"]), None)
        if place is None:
            raise SystemExit(f"dashboard: asv's page loads {loaded['address']}, for which there is no local file")
        if not place:
            return ""
        used.append(place)
        name = f"vendor/{Path(place).name}"
        return f'<link rel="stylesheet" href="{name}">' if name.endswith(".css") else f'<script src="{name}"></script>'

    return LOADED.sub(local, page), used


def list_benchmarks() -> None:
    """Write the list that asv reads the results by: the benchmarks of the working tree that have results."""
    configuration = Config.load("asv.conf.json")
    configuration.dvcs = "none"
    environments = list(get_environments(configuration, ["existing:same"]))
    found = Benchmarks.discover(configuration, get_repo(configuration), environments, [])
    measured = {pair for results in iter_results(str(RESULTS)) for pair in results.benchmark_version.items()}
    Benchmarks(configuration, [one for name, one in found.items() if (name, one["version"]) in measured]).save()


#: What is changed in asv's page and script so that commits are drawn at even distances at first: of hundreds some have been
#: measured, most of them near each other.
EVENLY = {
    "index.html": ('<a id="even-spacing" class="btn', '<a id="even-spacing" class="active btn'),
    "graphdisplay.js": ("var even_spacing = false;", "var even_spacing = true;"),
}


def evenly_spaced(name: str, text: str) -> str:
    """The text of one of asv's files, changed as ``EVENLY`` says."""
    before, after = EVENLY[name]
    if text.count(before) != 1:
        raise SystemExit(f"dashboard: asv's {name} has no {before!r}")
    return text.replace(before, after)


def main() -> None:
    """Publish, and say how to look."""
    list_benchmarks()
    subprocess.run([sys.executable, "-m", "asv", "publish", "--no-pull"], cwd=HERE, check=True)
    source, target, index = vendored(), HTML / "vendor", HTML / "index.html"
    for name in json.loads((HTML / "index.json").read_text())["benchmarks"]:
        summary = HTML / "graphs" / "summary" / f"{name}.json"
        if not summary.exists():  # measured at other commits only: asv's grid would ask for it in vain
            summary.parent.mkdir(parents=True, exist_ok=True)
            summary.write_text("[]")
    page, used = with_local_scripts(index.read_text())
    target.mkdir(exist_ok=True)
    for place in used:
        shutil.copy(HERE / "dashboard" / place if place == "stand_ins.js" else source / place, target)
    shutil.copy(HERE / "dashboard" / "more.css", target)
    index.write_text(page.replace("</head>", '  <link rel="stylesheet" href="vendor/more.css">\n  </head>'))
    for name in EVENLY:
        file = HTML / name
        file.write_text(evenly_spaced(name, file.read_text()))
    print(f"\nThe dashboard is in {HTML.relative_to(HERE.parent)}. To look at it:\n")
    print(f"  python3 -m http.server --bind 127.0.0.1 --directory {HTML.relative_to(HERE.parent)} 8000\n")
    print("and open http://127.0.0.1:8000 in a browser.")


if __name__ == "__main__":
    main()
