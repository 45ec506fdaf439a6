"""What a dataset must have in common with the one that a run was trained on."""

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
            f"{dataset.path} has other features than the run was trained with; prepare it from the same source."
        )
