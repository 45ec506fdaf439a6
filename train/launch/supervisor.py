"""Starts this machine's group of processes, and the whole group again where one of them dies.

    python -m pinfm.train.launch.supervisor --max-restarts 3 -- FLAGS OF TORCHRUN -m pinfm.train.cli.main pretrain ...

What goes on is the run's newest checkpoint: the verbs take `--job`, under which a run in `--out` goes on that the same
job began. A user's mistake (status 2) and the signals that ask for an end (143, 130) are not tried again.
"""

import argparse
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from types import FrameType

from pinfm.train.launch.processes import adopt_orphans, end_orphans
from pinfm.train.launch.statuses import ALONE, DONE, INTERRUPTED, MISTAKE, TERMINATED

GROUP = "pinfm.train.launch.group"
# Statuses after which a group is not started again: it ended as it should, by a user's mistake, or as was asked for.
FINAL = (DONE, MISTAKE, TERMINATED, INTERRUPTED)
FIRST_PAUSE, LONGEST_PAUSE = 1.0, 60.0  # seconds
LONGEST_ALONE = 900.0  # seconds in which other machines must be found again


class Supervisor:
    """Runs a command until it succeeds, or must not be run again.

    Args:
        command: starts the group, and ends with its status.
        max_restarts: after failures.
        first_pause: seconds before the first restart; each pause is twice the one before.
    """

    def __init__(self, command: Sequence[str], max_restarts: int, first_pause: float = FIRST_PAUSE) -> None:
        self._command, self._max_restarts, self._first_pause = list(command), max_restarts, first_pause
        self._group: subprocess.Popen[bytes] | None = None
        self._asked: int | None = None
        self._stop = threading.Event()

    def run(self) -> int:
        """Returns the status of the last group."""
        adopt_orphans()
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._ask)
        failures, pause, together = 0, self._first_pause, time.monotonic()
        while True:
            status = self._start()
            if self._asked is not None:
                return status or 128 + self._asked
            if status in FINAL or not self._max_restarts:
                return status
            if status != ALONE:
                failures, together = failures + 1, time.monotonic()
            if failures > self._max_restarts or time.monotonic() - together > LONGEST_ALONE:
                _say(f"given up after {self._max_restarts} restarts; a new start goes on with --resume.")
                return status
            _say(f"the processes start again in {pause:g} s (failure {failures} of {self._max_restarts} allowed).")
            if self._stop.wait(pause) and self._asked is not None:
                return 128 + self._asked
            pause = min(LONGEST_PAUSE, 2 * pause)

    def _start(self) -> int:
        # A session of its own, so that a signal to this group of processes comes to it once, by `_ask`.
        self._group = subprocess.Popen(self._command, start_new_session=True)
        if self._asked is not None:
            self._group.send_signal(self._asked)
        status = self._group.wait()
        self._group = None
        # Processes of a group that was killed itself would go on writing into the run's folder.
        end_orphans()
        return status if status >= 0 else 128 - status

    def _ask(self, number: int, _: FrameType | None) -> None:
        """Passes the first signal on; a group that ends takes its time to write a checkpoint."""
        if self._asked is None:
            self._asked = number
            self._stop.set()
            if self._group is not None:
                self._group.send_signal(number)


def main(argv: Sequence[str]) -> int:
    """Runs the group; returns its last status."""
    parser = argparse.ArgumentParser(prog=f"python -m {__spec__.name}", description=__doc__.partition("\n")[0])
    parser.add_argument("--max-restarts", type=int, default=0, help="of the whole group, after failures")
    parser.add_argument("group", nargs="+", metavar="FLAG", help="flags of torchrun, the module and its arguments")
    args = parser.parse_args(argv)
    if args.max_restarts < 0:
        _say(f"--max-restarts ({args.max_restarts}) must be at least 0.")
        return MISTAKE
    return Supervisor([sys.executable, "-m", GROUP, *args.group], args.max_restarts).run()


def _say(sentence: str) -> None:
    print(f"pinfm: {sentence}", file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
