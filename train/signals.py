"""SIGTERM, by which schedulers announce that they take the machine: an exception, or the end of a training step."""

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from pinfm.train.launch.statuses import TERMINATED


class Terminated(SystemExit):
    """SIGTERM came; where nobody catches it, the process ends with status 143.

    Args:
        told: what became of the work, in one sentence.
    """

    def __init__(self, told: str = "stopped by SIGTERM.") -> None:
        super().__init__(TERMINATED)
        self.told = told


@contextmanager
def sigterm_raises() -> Iterator[None]:
    """Turns SIGTERM into Terminated, so that temporary files are removed."""

    def terminate(*_: object) -> None:
        raise Terminated

    with _on_sigterm(terminate):
        yield


class HeldSigterm:
    """Remembers SIGTERM instead of ending the process, until a place where it may end; a context manager."""

    def __init__(self) -> None:
        self.came = False
        self._handling = _on_sigterm(self._remember)

    def __enter__(self) -> "HeldSigterm":
        self._handling.__enter__()
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        self._handling.__exit__(None, None, None)
        if self.came and kind is None:
            raise Terminated  # it came after the last look

    def _remember(self, *_: object) -> None:
        self.came = True


@contextmanager
def _on_sigterm(handler: Callable[..., Any]) -> Iterator[None]:
    if threading.current_thread() is not threading.main_thread():
        yield  # Python lets the main thread alone set handlers
        return
    before = signal.signal(signal.SIGTERM, handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, signal.SIG_DFL if before is None else before)
