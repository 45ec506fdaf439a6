"""What the layers of a run's tower are planned on: the requests that the run kept."""

import numpy as np
import pandas as pd

from pinfm.inference.dense.plan import Plan, plan_layers
from pinfm.inference.module import ScoringModule
from pinfm.inference.parity import BATCH_SIZE
from pinfm.inference.requests.columns import input_columns
from pinfm.inference.requests.frames import to_inputs
from pinfm.model.stored.run_folder import RunFolder

# Batches of requests, evenly spaced among the kept ones, on which each layer is rounded alone.
SAMPLE = 2


def kept_plan(module: ScoringModule, run: RunFolder, requests: pd.DataFrame) -> Plan:
    """What each layer of a run's tower is served in; all kept requests tell the bounds of what comes into it.

    Args:
        module: of the run, in float32, with its tables placed.
        run: a fine-tuning run with a tower.
        requests: what it kept, from `kept_requests`.
    """
    columns = input_columns(run.schema)
    batches = -(-len(requests) // BATCH_SIZE)
    return plan_layers(
        module,
        # Every so many requests make a batch, so that the first batches are evenly spaced.
        [
            to_inputs(requests.iloc[np.arange(i, len(requests), batches)], columns, module.checks)
            for i in range(batches)
        ],
        SAMPLE,
    )
