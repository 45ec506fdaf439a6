"""What an artefact holds histories against, made of the requests that the run kept."""

import numpy as np
import pandas as pd
import torch

from pinfm.embeddings.errors import UserError
from pinfm.inference.module import ScoringModule
from pinfm.inference.requests.checks import InputChecks
from pinfm.inference.requests.columns import input_columns
from pinfm.inference.requests.frames import to_inputs
from pinfm.model.adaptation.reference import Reference, make_reference
from pinfm.model.inputs import History
from pinfm.model.ranking.joint import FusedRanker
from pinfm.model.stored.run_folder import REQUESTS, RunFolder

# Encoded at once: of 256 events and the paper's tower they take 1.5 GiB.
MOST_USERS = 256


def kept_histories(run: RunFolder, requests: pd.DataFrame) -> History:
    """Histories of the users among kept requests: the newest of each, of at most `MOST_USERS` users.

    Args:
        run: a fine-tuning run.
        requests: what it kept, from `kept_requests`.

    Raises:
        UserError: no event is positive, so nothing is known of what users come to.
    """
    users = requests.drop_duplicates("user_id", keep="last")
    spaced = np.linspace(0, len(users) - 1, min(MOST_USERS, len(users))).round().astype(np.int64)
    columns = input_columns(run.schema)
    checks = InputChecks(columns, run.manifest["config"]["max_history"])
    inputs = to_inputs(users.iloc[spaced], columns, checks)
    history = History(*(inputs[f"history_{name}"] for name in History._fields))
    if not torch.isin(history.action, torch.tensor(run.schema.positive_codes())).any():
        raise UserError(
            f"{run.path / REQUESTS} has no event of {', '.join(run.schema.positive_actions)} in its histories, which "
            "--adapt learns from; fine-tune on a longer log, or export with --adapt none."
        )
    return history


def kept_reference(module: ScoringModule, run: RunFolder, requests: pd.DataFrame) -> Reference:
    """The reference of a run's artefact: the same for the same checkpoint, requests and precisions.

    Args:
        module: of the run, in the precisions of the artefact, with its tables placed; not adapted yet.
        run: a fine-tuning run.
        requests: what it kept, from `kept_requests`.

    Raises:
        UserError: see `kept_histories`.
    """
    assert isinstance(module.model, FusedRanker)
    history = kept_histories(run, requests)
    with torch.no_grad():
        item_TE = module.item_tables(history.item_id).to(module.dense_dtype)
    return make_reference(module.model.encoder, history, item_TE, run.schema.positive_codes())
