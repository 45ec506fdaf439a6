"""What torchrun keeps to itself of a group's end."""

import subprocess
import sys

import pytest
import runs
from torch.distributed.elastic.multiprocessing.errors import ProcessFailure

from pinfm.train.launch.group import status_of

# Joins the others, and then ends as the rank's status says: below 0 by that signal.
WORKER = """
import os, signal, sys
import torch, torch.distributed as dist
from pinfm.embeddings.errors import UserError
from pinfm.train.distributed import process_group
status = int(sys.argv[1 + int(os.environ["RANK"])])
try:
    with process_group(torch.device("cpu")):
        dist.all_reduce(torch.ones(1))
        if status > 0:
            raise UserError("as it is known to this process")
        if status < 0:
            os.kill(os.getpid(), -status)
        dist.all_reduce(torch.ones(1))
except UserError:
    os._exit(status)  # gloo may abort a process whose peer has gone while its threads end
"""


def failure(rank, exitcode):
    return ProcessFailure(local_rank=rank, pid=1000 + rank, exitcode=exitcode, error_file="none")


@pytest.mark.parametrize(
    ("statuses", "told"),
    [([1, -15], 1), ([-9, 1], 137), ([1, 2], 2), ([2, 1], 2), ([143, -15], 143), ([-15, 1], 143)],
)
def test_the_status_is_that_of_the_first_or_of_a_mistake(statuses, told):
    failures = {rank: failure(rank, status) for rank, status in enumerate(statuses)}
    assert status_of(failures, failures[0]) == told


@pytest.mark.dist
@pytest.mark.parametrize(
    ("statuses", "ends", "said"),
    [
        ((0, 0), 0, ""),
        ((0, 2), 2, "process 1 (pid "),
        ((0, -9), 137, "was ended by SIGKILL."),
        ((143, 143), 143, "ended with status 143."),
    ],
)
def test_a_group_ends_as_its_processes_do(tmp_path, statuses, ends, said):
    program = tmp_path / "worker.py"
    program.write_text(WORKER)
    flags = ["--standalone", "--nproc-per-node", "2", program, *statuses]
    words = [str(word) for word in (sys.executable, "-m", "pinfm.train.launch.group", *flags)]
    environment = runs.environment(tmp_path)
    done = subprocess.run(words, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=runs.HANGS)
    assert done.returncode == ends, done.stderr
    assert said in done.stderr
