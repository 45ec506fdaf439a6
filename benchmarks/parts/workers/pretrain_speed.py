"""What benchmarks/pretrain_speed.py starts, by the python of any build: `pretrain_speed.py EPOCHS FLAGS`.

It imports what every build has, and counts every step after the first epoch.
"""

import contextlib
import json
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from pinfm.train.cli.main import main
from pinfm.train.run_folder.metrics_log import MetricsLog

# The recipe ml1m made small: a block of width 64, no times, as a sparse log of short histories wants it.
SMALL = (
    *("--config", "ml1m", "--device", "cpu", "--checkpoint_steps", "1000000", "--max_history", "50"),
    *("--tower.num_layers", "1", "--tower.dim", "64", "--tower.out_dim", "64", "--tower.num_heads", "2"),
    *("--tower.time", "none", "--tower.request_time", "false"),
    *("--pretrain.segment_length", "50", "--pretrain.future_anchor_length", "20", "--pretrain.batch_size", "128"),
    *("--pretrain.optimizer.decay", "constant"),
)
BATCH_SIZE = 128


def measured(epochs: int, flags: list[str]) -> dict[str, float]:
    """Segments a second by the clock and by CPU seconds, of all steps but those of the first epoch."""
    moments = []
    add = MetricsLog.add

    def timed(log: MetricsLog, *given: Any, **named: Any) -> None:
        add(log, *given, **named)
        moments.append((time.perf_counter(), time.process_time()))

    MetricsLog.add = timed  # type: ignore[method-assign]  # the end of a step, in every build
    with tempfile.TemporaryDirectory() as folder, contextlib.redirect_stdout(sys.stderr):
        out = str(Path(folder, "run"))
        status = main(["pretrain", *SMALL, *flags, "--pretrain.epochs", str(1 + epochs), "--out", out])
    if status:
        raise RuntimeError(f"pinfm pretrain ended with status {status}")
    first, last = moments[len(moments) // (1 + epochs) - 1], moments[-1]
    segments = BATCH_SIZE * (len(moments) - len(moments) // (1 + epochs))
    return {"per_s": segments / (last[0] - first[0]), "per_cpu_s": segments / (last[1] - first[1])}


if __name__ == "__main__":
    print(json.dumps(measured(int(sys.argv[1]), sys.argv[2:])))
