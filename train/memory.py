"""What a long run does with the memory that its steps have freed."""

import ctypes


def give_back_freed_memory() -> bool:
    """Gives memory that nothing uses back to the system, as far as the C library can.

    Each step has a size of its own, and what it frees lies between what is kept, where glibc holds on to it: a run
    grows for hours, to several times what it needs.

    Returns:
        Whether there was any to give back; False also where the C library is not glibc.
    """
    malloc_trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    return malloc_trim is not None and bool(malloc_trim(0))
