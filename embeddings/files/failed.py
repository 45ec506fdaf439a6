"""What the system said where a file could not be written, however the libraries between wrap it."""

import errno
import os
from collections.abc import Iterator

# The disk is full, the quota is used up, the file is larger than may be, the device failed, it can't be written at all.
FAILURES = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO, errno.EROFS)


def failed_write(error: BaseException) -> str | None:
    """Tells a failure of the storage from others.

    Some libraries raise the system's error, some quote its words in an exception of their own.

    Args:
        error: that ended something.

    Returns:
        Which file can't be written, where that is known, and what the system said; None where that is not the reason.
    """
    for part in _chain(error):
        for code in FAILURES:
            words = os.strerror(code)
            if isinstance(part, OSError) and part.errno == code and part.filename:
                return f"{part.filename} can't be written ({words})"
            if (isinstance(part, OSError) and part.errno == code) or words in str(part):
                return f"a file can't be written ({words})"
    return None


def _chain(error: BaseException) -> Iterator[BaseException]:
    """The exception, and those that it was raised from."""
    seen: list[BaseException] = []
    todo: list[object] = [error]
    while todo:
        part = todo.pop(0)
        if not isinstance(part, BaseException) or part in seen:
            continue
        seen.append(part)
        yield part
        todo += [part.__cause__, part.__context__]
