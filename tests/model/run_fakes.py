"""A run folder in the form that training writes, without training."""

import json
from dataclasses import asdict

import torch.distributed.checkpoint as dcp
from model_fakes import config, schema

from pinfm.embeddings.specs import IdTable
from pinfm.model.stored.sums import file_sums, write_sums

ITEM_TABLE = IdTable(name="item", num_hashes=3, rows=11, dim=2, seed=1)


def write_manifest(folder, model=None, kind="pretrain", content_dim=0):
    """The manifest, with values of a run's config that a model does not read beside those that it does."""
    feature_tables = [IdTable(name="user_id", num_hashes=2, rows=7, dim=2)] if kind == "finetune" else []
    manifest = {
        "kind": kind,
        "config": {**asdict(model or config()), "seed": 3, "pretrain": {"window": 4}},
        "schema": asdict(schema(content_dim)),
        "tables": {"item": asdict(ITEM_TABLE), "features": [asdict(table) for table in feature_tables]},
        "seed": 3,
        "versions": {"torch": "2.13.0"},
    }
    (folder / "manifest.json").write_text(json.dumps(manifest))


def write_checkpoint(folder, weights, step=10):
    """A checkpoint of the tables that the manifest names."""
    checkpoint = folder / "checkpoints" / f"step-{step:08d}"
    dcp.save({"model": weights, "optimizer": {}, "step": step}, checkpoint_id=checkpoint, no_dist=True)
    tables = json.loads((folder / "manifest.json").read_text())["tables"]
    (checkpoint / "tables.json").write_text(json.dumps(tables))
    write_sums(checkpoint, file_sums(checkpoint.iterdir()))
