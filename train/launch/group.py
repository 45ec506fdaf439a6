"""Starts one group of processes by torchrun and tells its end by a status, which torchrun keeps to itself.

    python -m pinfm.train.launch.group FLAGS OF TORCHRUN -m pinfm.train.cli.main pretrain ...

The supervisor starts it, again and again, in a process of its own: then nothing of one group is left for the next.
"""

import os
import signal
import sys
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from pinfm.train.launch.processes import end_with_parent
from pinfm.train.launch.statuses import ALONE, MISTAKE

if TYPE_CHECKING:
    from torch.distributed.elastic.multiprocessing.errors import ProcessFailure


def main(argv: Sequence[str]) -> int:
    """Runs the group.

    Returns:
        0; 2 where a process ended by a mistake of the user's; else the status of the process that failed first, 128 and
        its number where a signal ended it, as shells have it.
    """
    end_with_parent()
    # A group that starts again beside others must not find what the one before wrote for its connections: torch keeps
    # one store through restarts on this machine, and gloo then calls at addresses of processes that are gone.
    os.environ["TORCH_DISABLE_SHARE_RDZV_TCP_STORE"] = "1"
    from torch.distributed.elastic.multiprocessing.api import SignalException
    from torch.distributed.elastic.multiprocessing.errors import ChildFailedError
    from torch.distributed.elastic.rendezvous import RendezvousError
    from torch.distributed.run import parse_args, run

    try:
        run(parse_args(list(argv)))  # type: ignore[no-untyped-call]
    except ChildFailedError as error:
        rank, failure = error.get_first_failure()
        status = status_of(error.failures, failure)
        print(f"pinfm: process {rank} (pid {failure.pid}) {_told(failure)}.", file=sys.stderr, flush=True)
        return status
    except SignalException as error:
        return 128 + int(error.sigval)
    except RendezvousError as error:
        print(f"pinfm: the machines of this run did not meet ({error}).", file=sys.stderr, flush=True)
        return ALONE
    return 0


def status_of(failures: "Mapping[int, ProcessFailure]", first: "ProcessFailure") -> int:
    """The status of a group some of whose processes failed.

    Args:
        failures: by rank; those that were ended because another had failed are among them.
        first: the one that failed first.
    """
    if any(failure.exitcode == MISTAKE for failure in failures.values()):
        # It may be known to one process alone; the others then fail as their connections to it break.
        return MISTAKE
    return first.exitcode if first.exitcode > 0 else 128 - first.exitcode


def _told(failure: "ProcessFailure") -> str:
    if failure.exitcode >= 0:
        return f"ended with status {failure.exitcode}"
    return f"was ended by {signal.Signals(-failure.exitcode).name}"


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
