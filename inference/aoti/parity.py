"""Whether compiled packages are the run: trainer, TorchScript and packages against each other on real requests."""

from typing import Any

import numpy as np
import pandas as pd

from pinfm.inference.artifact import Scorer
from pinfm.inference.parity import BATCH_SIZE, ParityError, kept_of_candidates

# Of a probability, between any two of the three.
MAX_ABS_DIFF = 1e-6


def check_packages(module: Scorer, packages: Scorer, requests: pd.DataFrame, *, exact_tables: bool) -> dict[str, Any]:
    """Compares what packages give with what the TorchScript module and the run give.

    Args:
        module: the artefact, scored by TorchScript.
        packages: the same artefact, scored by its packages.
        requests: real requests with `expected_{task}` columns.
        exact_tables: the artefact's tables are those of the run; with rounded ones the run is left out.

    Returns:
        {"max_abs_diff": largest absolute difference of a probability between any two, "rows": candidates}.

    Raises:
        ParityError: it is above the limit.
    """
    of_module, of_packages = (scorer.score(requests, BATCH_SIZE) for scorer in (module, packages))
    difference = 0.0
    for task in module.tasks:
        scores = [of_module[task].to_numpy(), of_packages[task].to_numpy()]
        if exact_tables:
            scores.append(kept_of_candidates(requests, f"expected_{task}"))
        # Written this way round, a NaN, which numpy's max keeps, is refused too.
        difference = float(np.maximum(difference, np.ptp(np.stack(scores), axis=0).max()))
    if not difference <= MAX_ABS_DIFF:
        raise ParityError(
            f"run, TorchScript and compiled packages differ by up to {difference:.2e} (limit {MAX_ABS_DIFF:.0e}), so "
            "nothing was written; export with --format torchscript, and report this with the run's manifest."
        )
    return {"max_abs_diff": difference, "rows": len(of_module)}
