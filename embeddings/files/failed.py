"""What the system said where the storage failed, however the libraries between wrap it."""

import errno
import os
from collections.abc import Iterator

# The disk is full, the quota is used up, the file is larger than may be, the device failed, it can't be written at all.
FAILURES = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO, errno.EROFS)
# Of libraries whose exceptions quote the system's words; in others, such as a user's, the words may mean anything.
QUOTING = ("_duckdb", "duckdb", "pyarrow", "torch")


def storage_failure(error: BaseException) -> str | None:
    """Tells a failure of the storage from others.

    Some libraries raise the system's error, some quote its words in an exception of their own.

    Args:
        error: that ended something.

    Returns:
        Which file failed, where that is known, what the system said, and the mend; None where that is not the reason.
    """
    for part in _chain(error):
        for code in FAILURES:
            if isinstance(part, OSError) and part.errno == code:
                return _told(part.filename or "a file", code)
            if os.strerror(code) in str(part) and _quotes(part):
                return _told("a file", code)
    return None


def _told(file: object, code: int) -> str:
    if code == errno.EIO:  # a device that fails says so of reads too, and room is no help
        return f"{file} can't be read or written ({os.strerror(code)}); see to its disk, or give another path."
    return f"{file} can't be written ({os.strerror(code)}); make room there, or give another path."


def _quotes(error: BaseException) -> bool:
    if isinstance(error, OSError):
        return error.errno is None
    return type(error).__module__.partition(".")[0] in QUOTING


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
