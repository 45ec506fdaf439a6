"""What a step of the sharded tables is, and that no row outside them gets there: at one and at two ranks."""

import sys
from pathlib import Path

import pytest
import runs
import table_steps
import torch
from table_steps import CASES, DIM, GRADIENT, RATE

from pinfm.train.build import TABLE_EPS, in_backward
from pinfm.train.distributed import process_group

pytestmark = pytest.mark.dist


@pytest.fixture(scope="module", params=[1, 2])
def results(request, tmp_path_factory):
    """Of every rank."""
    if request.param == 1:
        with process_group(table_steps.CPU):
            return [table_steps.results()]
    folder = tmp_path_factory.mktemp("table_steps")
    finds_what_tests_share = f"PYTHONPATH={Path(runs.__file__).parent}"
    launcher = ["env", finds_what_tests_share, sys.executable, "-m", "torch.distributed.run", "--standalone"]
    runs.command(*launcher, "--nproc-per-node", 2, table_steps.__file__, folder, cwd=folder)
    return [torch.load(folder / f"rows-{rank}.pt") for rank in (0, 1)]


@pytest.mark.parametrize("case", CASES)
def test_a_step_is_adagrad_with_fbgemms_eps_and_nothing_else(results, case):
    gradient = GRADIENT * torch.tensor([1.0, 2.0, 3.0, 4.0], dtype=torch.float64)
    sums = gradient.square()
    if CASES[case][0] == "rowwise_adagrad":
        sums = sums.mean().expand(DIM)
    assert TABLE_EPS == 1e-8
    step = RATE * gradient / (sums.sqrt() + TABLE_EPS)
    for result in results:
        before, after = (rows.double() for rows in result["steps"][case])
        torch.testing.assert_close(before[1] - after[1], step, rtol=1e-5, atol=1e-6)
        others = [row for row in range(len(before)) if row != 1]
        assert torch.equal(before[others], after[others])
        assert before[others].count_nonzero() == before[others].numel()


def test_rows_outside_a_table_are_refused_by_every_rank(results):
    sentence = "an id of `item` stands in row {}, and its sub-tables have rows 0 to 5."
    for result in results:
        assert result["refused"] == [sentence.format(8), sentence.format(-1)]


@pytest.mark.parametrize("more", [{"weight_decay": 0.1}, {"initial_accumulator_value": 0.1}, {"lr_decay": 0.1}])
def test_what_sharded_tables_would_not_heed_is_refused(more):
    weight = torch.nn.Parameter(torch.ones(2))
    with pytest.raises(ValueError, match=r"heed lr and eps of their optimizer and no more, not \['eps', '"):
        in_backward(torch.optim.Adagrad, [weight], lr=0.1, eps=1e-8, **more)
    with pytest.raises(ValueError, match=r"no more, not \['lr'\]\.$"):
        in_backward(torch.optim.Adagrad, [weight], lr=0.1)
