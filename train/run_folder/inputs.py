"""What a dataset must have in common with the one that a run was trained on."""

from collections.abc import Sequence

from pinfm.embeddings.errors import UserError
from pinfm.model.stored.run_folder import RunFolder
from pinfm.train.data.dataset import PreparedDataset
from pinfm.train.run_folder.pretrained import CODES, require_same_ids


def require_same_inputs(run: RunFolder, dataset: PreparedDataset) -> None:
    """Codes and feature columns mean something else in another dataset, so they must be equal.

    A pretraining run has learnt from events alone: what a dataset says of impressions is nothing to it.

    Raises:
        UserError: names what differs.
    """
    reads_impressions = run.kind == "finetune"
    for name in (*CODES, "tasks") if reads_impressions else CODES:
        ours, theirs = getattr(run.schema, name), getattr(dataset.info.schema, name)
        if ours != theirs:
            raise UserError(
                f"{dataset.path} has {name} {list(theirs)}, the run was trained with {list(ours)}; "
                "prepare the data with the run's vocabulary."
            )
    for name in ("user_id", "item_id") if reads_impressions else ("item_id",):
        require_same_ids(f"{dataset.path} has", dataset.info.schema, "the run was trained on", run.schema, name)
    if run.schema.content_dim != dataset.info.schema.content_dim:
        raise UserError(
            f"{dataset.path} has content vectors of {dataset.info.schema.content_dim} values, the run was trained with "
            f"{run.schema.content_dim}; prepare the data with the run's content vectors."
        )
    ours, theirs = (
        [(f.name, f.kind, f.scope) for f in schema.features] for schema in (run.schema, dataset.info.schema)
    )
    if reads_impressions and ours != theirs:
        raise UserError(
            f"{dataset.path} has other features than the run was trained with{_named(theirs, ours)}; prepare it from "
            "the same source, by the pinfm that prepared the run's data."
        )


def _named(dataset: Sequence[tuple[str, str, str]], run: Sequence[tuple[str, str, str]]) -> str:
    """The first feature that only one of them has, in parentheses; empty where the order alone differs."""
    for features, others, said in ((dataset, run, "which the run lacks"), (run, dataset, "which the dataset lacks")):
        for name, kind, scope in features:
            if (name, kind, scope) not in others:
                return f" ({name}, {kind} of the {scope}, {said})"
    return ""
