"""What `torchrun --nproc-per-node 2` runs for test_distributed.py: every run that two processes make, in one start.

Usage: two_processes.py CONFIG DATASET PRETRAINED FOLDER PORT...
"""

import os
import sys
from pathlib import Path

from struck import strike

from pinfm.train.cli.main import main
from pinfm.train.cli.quiet import hush_libraries
from pinfm.train.launch.statuses import TERMINATED

ADVERSARIAL = ["--finetune.adversarial_radius", "0.2"]
VALIDATED = ["--epochs", "4", "--validation.per_epoch", "2", "--validation.patience", "2"]
EVERY_LOSS = [
    *("--pretrain.masked_event_weight", "1.0", "--pretrain.contrastive_weight", "0.5"),
    *("--pretrain.next_action_weight", "2.0", "--pretrain.loss_weights", "by_pairs"),
]


def train_all(config: str, dataset: str, pretrained: str, folder: Path, ports: list[str]) -> None:
    few_steps = ["--finetune.batch_size", "128"]
    sampled = ["--pretrain.negatives", "sampled", "--pretrain.num_sampled", "64", "--pretrain.log_q", "false"]
    runs = [
        ["--out", str(folder / "two"), "--pretrained", pretrained],
        ["--out", str(folder / "one_then_two"), "--pretrained", pretrained, "--resume"],
        ["--out", str(folder / "two_without_tower"), "--use_tower", "false", *few_steps],
        ["--out", str(folder / "two_with_content"), "--cold_start.content_fusion", "true", *few_steps],
    ]
    # A launcher's store serves one group in a process's life; each run here meets at a port of its own.
    os.environ["TORCHELASTIC_USE_AGENT_STORE"] = "False"
    commands = [["finetune", *flags] for flags in runs]
    commands.append(["finetune", "--out", str(folder / "two_adversarial"), *few_steps, *ADVERSARIAL])
    commands.append(["pretrain", "--out", str(folder / "two_every_loss"), *EVERY_LOSS])
    commands.append(["pretrain", "--out", str(folder / "two_sampled"), *sampled])
    for verb, steps in (("pretrain", []), ("finetune", few_steps)):
        flags = [word.replace("--", f"--{verb}.", 1) for word in VALIDATED]
        commands.append([verb, "--out", str(folder / f"two_validated_{verb}"), *steps, *flags])
    stopped = ["pretrain", "--out", str(folder / "two_stopped"), *sampled]
    *ports, stopped_at, resumed_at = ports
    place = ["--config", config, "--data", dataset]
    for command, port in zip(commands, ports, strict=True):
        _run(command, place, port)
    if os.environ["RANK"] == "1":
        strike("SIGTERM", 5)  # one process alone is told
    _run(stopped, place, stopped_at, TERMINATED)
    _run([*stopped, "--resume"], place, resumed_at)


def _run(command: list[str], place: list[str], port: str, expected: int = 0) -> None:
    os.environ["MASTER_PORT"] = port
    verb, *flags = command
    status = main([verb, *place, *flags])  # a flag before --config would give way to it
    assert status == expected, f"{command} ended with {status}"


if __name__ == "__main__":
    hush_libraries()
    train_all(*sys.argv[1:4], Path(sys.argv[4]), sys.argv[5:])
