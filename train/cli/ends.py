"""How a command ends: the sentence and the exit status of what is no bug."""

import errno

from pinfm.embeddings.errors import UserError
from pinfm.embeddings.files.failed import storage_failure
from pinfm.train.launch.statuses import INTERRUPTED, MISTAKE
from pinfm.train.signals import Terminated

# What a path of the user's may end in; a missing file of ours is a bug.
OF_PATHS = (PermissionError, NotADirectoryError, IsADirectoryError, FileExistsError)


def ending(error: BaseException) -> tuple[str, int] | None:
    """What to tell of an exception that ended a command, and its exit status, of those that docs/operations.md lists.

    Returns:
        None for a bug, which keeps its traceback.
    """
    if isinstance(error, UserError):
        return str(error), MISTAKE
    if isinstance(error, Terminated):
        return error.told, int(str(error.code))
    if isinstance(error, KeyboardInterrupt):
        return "interrupted.", INTERRUPTED
    if isinstance(error, BrokenPipeError):
        return None  # who read the output has gone; see `entry`
    failed = storage_failure(error)
    if failed is not None:
        return failed, MISTAKE
    if isinstance(error, OF_PATHS) or (isinstance(error, OSError) and error.errno == errno.ENAMETOOLONG):
        # pyarrow's have no name of a file, and say it in their text.
        said = f"{error.filename}: {error.strerror}" if error.filename else str(error)
        return f"{said.rstrip('.')}; give another path.", MISTAKE
    return None
