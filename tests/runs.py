"""A tiny simulated dataset and a run of each phase on it, made once for the tests of train/ and inference/."""

import json
import os
import random
import shutil
import socket
import subprocess
import sys
import tempfile
from contextlib import suppress
from dataclasses import asdict, replace
from functools import cache
from pathlib import Path
from typing import Any

import pandas as pd
import torch
import yaml
from torch import Tensor
from torch.distributed.checkpoint.format_utils import dcp_to_torch_save

from pinfm.embeddings.specs import FeatureTableConfig, ItemTableConfig
from pinfm.inference.export import export
from pinfm.model.config import ColdStartConfig, RankerConfig, TowerConfig
from pinfm.model.stored.run_folder import RunFolder
from pinfm.train.config import FinetuneConfig, OptimizerConfig, PretrainConfig, RunConfig
from pinfm.train.data.prepare import PrepareOptions, prepare
from pinfm.train.data.sources.simulate import Simulate
from pinfm.train.phases import finetune, pretrain
from pinfm.train.run_folder.place import Place

# Seconds after which a process is taken for hung: far more than any takes, however busy the machine is.
HANGS = 3600

# Every setting stands here, so that new defaults do not move the golden losses.
OPTIMIZER = OptimizerConfig(
    dense_lr=1e-2,
    table_lr=0.05,
    pretrained_lr_scale=1.0,
    weight_decay=0.01,
    gradient_clip_norm=1.0,
    warmup_steps=3,
    decay="cosine",
)
CONFIG = RunConfig(
    seed=3,
    device="cpu",
    precision="fp32",
    max_history=8,
    data_streams=4,
    checkpoint_steps=4,
    log_steps=1,
    use_tower=True,
    item_table=ItemTableConfig(num_hashes=2, rows=200, dim=4),
    feature_tables=FeatureTableConfig(num_hashes=2, dim=8, rows_per_value=2.0, max_rows=1000),
    tower=TowerConfig(
        num_layers=1,
        dim=16,
        num_heads=2,
        out_dim=8,
        dropout=0.0,
        token_dropout=0.0,
        mlp="gelu",
        positions="rotary",
        time="gap",
        fusion="early",
        temperature=0.1,
    ),
    cold_start=ColdStartConfig(
        candidate_id_randomization=0.1,
        dropout_young=0.0,
        dropout_middle=0.0,
        content_fusion=False,
        alignment_weight=0.1,
        learnable_token=False,
    ),
    ranker=RankerConfig(
        interaction={"parallel": ["input", {"form": "dcn_v2_low_rank", "layers": 1, "rank": 4}]},
        dense_hidden=(8,),
        over_hidden=(16,),
        dropout=0.0,
    ),
    pretrain=PretrainConfig(
        epochs=1,
        batch_size=16,
        segment_length=8,
        next_token_weight=1.0,
        multi_token_weight=1.0,
        future_token_weight=1.0,
        window=3,
        pairs_per_anchor=2,
        future_anchor_length=4,
        log_q=True,
        optimizer=OPTIMIZER,
    ),
    finetune=FinetuneConfig(
        epochs=1,
        batch_size=32,
        requests_per_user=4,
        pretrained_sums_scale=1.0,
        freeze_tower=False,
        tower_prediction_weight=0.5,
        agreement_weight=0.1,
        next_token_weight=0.1,
        next_token_newest=4,
        optimizer=replace(OPTIMIZER, pretrained_lr_scale=0.1),
    ),
)
SOURCE = Simulate(
    num_users=60, num_items=120, num_days=10, requests_per_user=6.0, candidates_per_request=4, content_dim=4, seed=1
)


@cache
def tiny_dataset(root: Path) -> Path:
    """The prepared dataset, made once below `root`."""
    prepare(SOURCE, root / "dataset", PrepareOptions(num_buckets=6))
    return root / "dataset"


@cache
def pretrained_run(root: Path) -> Path:
    """The pretrained run on it."""
    pretrain(CONFIG, Place(data=tiny_dataset(root), out=root / "pretrained"))
    return root / "pretrained"


@cache
def finetuned_run(root: Path) -> Path:
    """A ranker fine-tuned from the pretrained run."""
    finetune(CONFIG, Place(data=tiny_dataset(root), out=root / "finetuned", pretrained=pretrained_run(root)))
    return root / "finetuned"


@cache
def exported_model(root: Path) -> Path:
    """The artefact of the fine-tuned run."""
    export(finetuned_run(root), root / "model")
    return root / "model"


def losses(run: Path) -> pd.DataFrame:
    """metrics.jsonl without the clock, one row a step."""
    lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    return pd.DataFrame(lines).set_index("step").drop(columns="examples_per_s")


def write_config(config: RunConfig, path: Path) -> Path:
    """The config as the YAML file that `--config` reads."""
    path.write_text(yaml.safe_dump(json.loads(json.dumps(asdict(config)))))
    return path


def interrupted(run: Path, copy: Path, step: int) -> Path:
    """A copy of a run as it stood after the checkpoint of `step`."""
    shutil.copytree(run, copy)
    for checkpoint in (copy / "checkpoints").iterdir():
        if int(checkpoint.name.removeprefix("step-")) > step:
            shutil.rmtree(checkpoint)
    lines = (run / "metrics.jsonl").read_text().splitlines(keepends=True)
    (copy / "metrics.jsonl").write_text("".join(lines[:step]))
    return copy


def weights(run: Path) -> dict[str, Tensor]:
    """Every weight of a run's newest checkpoint, tables whole."""
    return {name: value for name, value in checkpoint(run)["model"].items() if value.is_floating_point()}


def checkpoint(run: Path) -> dict[str, Any]:
    """All of a run's newest checkpoint, tables whole."""
    with tempfile.TemporaryDirectory() as folder:
        dcp_to_torch_save(RunFolder.open(run).latest_checkpoint(), Path(folder) / "whole")
        whole: dict[str, Any] = torch.load(Path(folder) / "whole", weights_only=False)
    return whole


def command(*arguments: object, cwd: Path) -> subprocess.CompletedProcess[str]:
    """Runs a program of this environment on one thread; a failure shows what it printed."""
    words = [str(word) for word in arguments]
    done = subprocess.run(words, cwd=cwd, env=environment(cwd), capture_output=True, text=True, timeout=HANGS)
    assert done.returncode == 0, f"{' '.join(words)}\n{done.stdout[-4000:]}\n{done.stderr[-8000:]}"
    return done


def environment(cwd: Path) -> dict[str, str]:
    """The variables of programs that are started in a folder: this environment's programs, on one thread."""
    bin_folder = Path(sys.executable).parent
    env = {**os.environ, "OMP_NUM_THREADS": "1", "PATH": f"{bin_folder}{os.pathsep}{os.environ['PATH']}"}
    if env.pop("PYTHONDONTWRITEBYTECODE", ""):
        # Else every process compiles torch anew, which takes longer than all that these tests do.
        env["PYTHONPYCACHEPREFIX"] = str(cwd.parent / "bytecode")
    return env


def free_ports(count: int) -> list[int]:
    """Ports that nobody listens on, for runs that meet without a launcher's store.

    They lie below those that the system gives to connections, one of which might take a port before its run begins.
    """
    ports: list[int] = []
    for port in random.SystemRandom().sample(range(20_000, 32_000), 200):
        with socket.socket() as free, suppress(OSError):
            free.bind(("127.0.0.1", port))
            ports.append(port)
        if len(ports) == count:
            return ports
    raise RuntimeError(f"fewer than {count} ports are free")
