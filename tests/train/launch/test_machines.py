"""Two machines, each with a launcher of its own, that meet again after a process of one has died."""

import os
import signal
import subprocess
import sys
import time

import pytest
import runs

pytestmark = pytest.mark.dist

# Adds up ones with the others for some seconds, and leaves its pid under the name of its machine and of its start.
WORKER = """
import os, sys, time
import torch, torch.distributed as dist
dist.init_process_group("gloo")
folder, machine = sys.argv[1:]
with open(f"{folder}/{machine}", "a") as file:
    file.write(f"{os.getpid()} ")
for _ in range(40):
    x = torch.ones(1)
    dist.all_reduce(x)
    time.sleep(0.1)
dist.destroy_process_group()
"""


@pytest.mark.parametrize("machine", [0, 1], ids=["where they meet", "another"])
def test_both_groups_start_again(tmp_path, machine):
    program = tmp_path / "worker.py"
    program.write_text(WORKER)
    (port,) = runs.free_ports(1)
    supervisor = [sys.executable, "-m", "pinfm.train.launch.supervisor", "--max-restarts", "2", "--"]
    meeting = ["--rdzv-backend", "c10d", "--rdzv-endpoint", f"localhost:{port}", "--rdzv-id", "run"]
    machines = [
        subprocess.Popen(
            [*supervisor, *meeting, "--nnodes", "2", "--nproc-per-node", "1", str(program), str(tmp_path), str(number)],
            cwd=tmp_path,
            env=runs.environment(tmp_path),
            stderr=subprocess.DEVNULL,
        )
        for number in (0, 1)
    ]

    def pids(number):
        file = tmp_path / str(number)
        return [int(pid) for pid in file.read_text().split()] if file.exists() else []

    end = time.monotonic() + runs.HANGS
    while not (pids(0) and pids(1)):
        assert time.monotonic() < end
        time.sleep(0.05)
    os.kill(pids(machine)[0], signal.SIGKILL)
    assert [each.wait(runs.HANGS) for each in machines] == [0, 0]
    # On a busy machine a start may miss the other's, and come again.
    assert all(len(pids(number)) >= 2 for number in (0, 1))
