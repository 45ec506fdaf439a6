"""A shard that one rank can't read back ends the saving on all of them."""

import sys

import pytest
import runs

WORKER = """
import errno, sys
from pathlib import Path
from types import SimpleNamespace
import torch, torch.distributed as dist
from pinfm.train.distributed import process_group
from pinfm.train.run_folder import checkpoint

def fails(files):
    raise OSError(errno.EIO, "Input/output error", "shard")

with process_group(torch.device("cpu")):
    if dist.get_rank() == 1:
        checkpoint.file_sums = fails
    state = SimpleNamespace(step=1, state_dict=lambda: {"x": torch.zeros(2)})
    try:
        checkpoint.save(state, Path(sys.argv[1]))
    except OSError as error:
        Path(sys.argv[1], f"told-{dist.get_rank()}").write_text(str(error))
"""


@pytest.mark.dist
def test_every_rank_ends_with_the_error_of_one(tmp_path):
    program = tmp_path / "worker.py"
    program.write_text(WORKER)
    launch = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    runs.command(sys.executable, *launch, program, tmp_path, cwd=tmp_path)
    told = [(tmp_path / f"told-{rank}").read_text() for rank in (0, 1)]
    assert told == ["[Errno 5] Input/output error: 'shard'"] * 2
    assert not list(tmp_path.glob("checkpoints/*"))
