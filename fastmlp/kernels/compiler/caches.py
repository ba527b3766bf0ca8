"""The second-level cache of a core, as Linux tells of it. Python's ``os.sysconf`` has no name for it."""

from __future__ import annotations

import re
from contextlib import suppress
from functools import lru_cache
from pathlib import Path

__all__ = ["level_2_bytes"]

#: Where Linux tells the caches of the first core: a folder for each, with a file for each number.
CACHES = Path("/sys/devices/system/cpu/cpu0/cache")

#: The size where the system doesn't say: between that of desktops and of servers.
LEVEL_2_BYTES = 2**20


@lru_cache(maxsize=1)
def level_2_bytes() -> int:
    """The size of the second-level cache of a core."""
    with suppress(OSError):
        for cache in sorted(CACHES.glob("index*")):
            level, kind, text = ((cache / name).read_text(errors="replace").strip() for name in ("level", "type", "size"))
            size = re.fullmatch(r"([1-9][0-9]{0,6})([KM])", text)
            if level == "2" and kind != "Instruction" and size:
                return int(size[1]) * {"K": 2**10, "M": 2**20}[size[2]]
    return LEVEL_2_BYTES
