"""What tests of interruptions run: `pinfm ARGUMENTS...`, which sends itself a signal in one of its training steps.

Usage: struck.py SIGNAL STEP ARGUMENTS...
"""

import os
import signal
import sys

from pinfm.train import loop
from pinfm.train.cli.main import entry


def strike(name: str, in_step: int) -> None:
    """Lets training send the signal once it has begun the step, counted from 0 over the whole run."""
    seed_step = loop.seed_step

    def struck(seed: int, step: int) -> None:
        if step == in_step:
            os.kill(os.getpid(), signal.Signals[name])
        seed_step(seed, step)

    loop.seed_step = struck


if __name__ == "__main__":
    # Whoever was started in the background of a shell has been told to ignore it.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    name, step, *arguments = sys.argv[1:]
    strike(name, int(step))
    sys.argv[1:] = arguments
    entry()
