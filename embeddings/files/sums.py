"""Sums over files, which are read in parts."""

import zlib
from pathlib import Path

# Bytes read at a time.
PART = 1 << 20


def crc32_of(path: Path) -> int:
    """The file's CRC-32."""
    crc32 = 0
    with path.open("rb") as file:
        while part := file.read(PART):
            crc32 = zlib.crc32(part, crc32)
    return crc32
