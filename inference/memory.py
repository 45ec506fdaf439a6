"""What a serving process does with the memory that a request leaves."""

import ctypes

# Of glibc's malloc.h.
M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3
# Blocks that may come from the heap; older versions of glibc refuse the first.
LARGEST_BLOCKS = (1 << 30, 1 << 25)


def keep_freed_memory() -> bool:
    """Has this process keep freed memory for the next request; call it once, before the model is loaded.

    The buffers of a thousand candidates are some MiB each. As glibc comes, it may give them back to the system after
    every layer and get them again page by page: up to 11,000 page faults a request, and a seventh of its time
    (docs/performance.md). The process stays as large as its largest request makes it.

    Returns:
        Whether there is a glibc that took it.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is None:
        return False
    takes_blocks = any(mallopt(M_MMAP_THRESHOLD, size) for size in LARGEST_BLOCKS)
    return takes_blocks and bool(mallopt(M_TRIM_THRESHOLD, LARGEST_BLOCKS[0]))
