"""What `torchrun --nproc-per-node N` runs for test_sharding.py: a run for each way to cut the tables.

Usage: sharded_processes.py DATASET FOLDER PORT...

FOLDER holds a config NAME.yaml for each; the run FOLDER/NAME is begun, or continued where it is there. Names that hold
"finetune" are of fine-tuning, the others of pretraining.
"""

import os
import sys
from pathlib import Path

import probing
import pytest

from pinfm.train.cli.main import main
from pinfm.train.cli.quiet import hush_libraries


def train_all(dataset: str, folder: Path, ports: list[str]) -> None:
    # A launcher's store serves one group in a process's life; each run here meets at a port of its own.
    os.environ["TORCHELASTIC_USE_AGENT_STORE"] = "False"
    for config, port in zip(sorted(folder.glob("*.yaml")), ports, strict=True):
        os.environ["MASTER_PORT"] = port
        out = str(folder / config.stem)
        verb = "finetune" if "finetune" in config.stem else "pretrain"
        status = main([verb, "--config", str(config), "--data", dataset, "--out", out, "--resume"])
        assert status == 0, f"{config.stem} ended with {status}"


if __name__ == "__main__":
    probing.train_without_a_gpu(pytest.MonkeyPatch())
    hush_libraries()
    train_all(sys.argv[1], Path(sys.argv[2]), sys.argv[3:])
