"""No step of training makes a whole number, a comparison or a mask of floats that another device would round otherwise.

Of evaluation the metrics compare scores, which is what they are for; all else is held to the same.
"""

from dataclasses import replace

import runs
from rounded_floats import RoundedFloats

from pinfm.train.evaluation.evaluate import EvaluateOptions, evaluate
from pinfm.train.phases import Place, finetune, pretrain

# All parts at work that look at times, ages and content.
CONFIG = replace(
    runs.CONFIG,
    item_table=replace(runs.CONFIG.item_table, ids="managed", rows=40),
    tower=replace(runs.CONFIG.tower, request_time=True),
    cold_start=replace(
        runs.CONFIG.cold_start,
        dropout_young=0.7,
        dropout_middle=0.5,
        content_fusion=True,
        learnable_token=True,
    ),
    ranker=replace(runs.CONFIG.ranker, history_counts=True),
)


def test_no_step_of_a_run_depends_on_the_last_digit(dataset, tmp_path):
    first, second = tmp_path / "pretrained", tmp_path / "finetuned"
    with RoundedFloats() as watched:
        pretrain(CONFIG, Place(data=dataset, out=first))
        finetune(CONFIG, Place(data=dataset, out=second, pretrained=first))
        assert watched.found == set()
        for run in (first, second):
            evaluate(run, CONFIG, dataset, "test", EvaluateOptions(device="cpu"))
    assert {file for _, file in watched.found} == {"train/metrics/ranking.py", "train/metrics/retrieval.py"}
