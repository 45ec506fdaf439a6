"""One run at a time in a folder, and nothing left of those that were killed there."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from pinfm.embeddings.files.lock import locked
from pinfm.model.stored.run_folder import CHECKPOINTS

LOCK = ".lock"


@contextmanager
def only_run(run: Path) -> Iterator[None]:
    """Keeps the folder of a run to this process while the block runs; the first rank holds it for all.

    Args:
        run: the folder, which is made; it goes again where nothing was put into it.

    Raises:
        UserError: another run is being trained there.
    """
    run.mkdir(parents=True, exist_ok=True)
    try:
        busy = f"{run} is being trained by another process; wait for its end, or give another --out."
        with locked(run / LOCK, busy) as alone:
            if alone:
                _remove_leftovers(run)
            yield
    finally:
        with suppress(OSError):
            run.rmdir()  # only where it is empty


def _remove_leftovers(run: Path) -> None:
    """Removes what killed runs had not finished: who is alive holds the lock, which is ours now."""
    for folder in (run / CHECKPOINTS).glob("unfinished-*"):
        shutil.rmtree(folder, ignore_errors=True)
    for file in run.glob(".*.unfinished"):
        file.unlink(missing_ok=True)
