"""Work on one part after the other in a few threads: numpy and Arrow leave Python's lock."""

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

from tqdm import tqdm

# Each holds a part in memory.
THREADS = 2

P = TypeVar("P")
R = TypeVar("R")


def in_threads(work: Callable[[P], R], parts: Iterable[P], told: str, total: int) -> Iterator[R]:
    """Yields the results in order, with a bar where stderr is a terminal.

    A part is asked for when a thread is free for it, in the caller's thread, so that no more than one waits in memory.

    Args:
        work: to be done with each part.
        parts: what to work on.
        told: what the bar says.
        total: how many parts there are.
    """
    with ThreadPoolExecutor(THREADS) as pool, tqdm(total=total, desc=told, disable=None) as bar:
        begun: deque[Future[R]] = deque()
        for part in parts:
            begun.append(pool.submit(work, part))
            if len(begun) > THREADS:
                yield begun.popleft().result()
                bar.update()
        for last in begun:
            yield last.result()
            bar.update()
