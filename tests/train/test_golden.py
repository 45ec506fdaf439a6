"""The losses of a short run with fixed seeds: a refactor leaves them alone, a change of numerics explains the new file.

To write new files: `python -m pytest -n 0 tests/train/test_golden.py --basetemp DIR`, then copy DIR/golden/*.txt.
"""

from pathlib import Path

import numpy as np
import pytest
import runs

GOLDEN = Path(__file__).parents[1] / "golden"


def as_text(run):
    """One line a step: the step, then every logged value."""
    steps = runs.losses(run)
    lines = ["\t".join(["step", *steps.columns])]
    lines += [
        "\t".join([str(step), *(f"{value:.6f}" for value in row)])
        for step, row in zip(steps.index, steps.to_numpy(), strict=True)
    ]
    return "\n".join(lines) + "\n"


@pytest.mark.parametrize("phase", ["pretrain", "finetune"])
def test_losses_are_the_golden_ones(root, pretrained, finetuned, phase):
    text = as_text({"pretrain": pretrained, "finetune": finetuned}[phase])
    (root / "golden").mkdir(exist_ok=True)
    (root / "golden" / f"{phase}.txt").write_text(text)
    ours, golden = (
        [line.split("\t") for line in t.splitlines()] for t in (text, (GOLDEN / f"{phase}.txt").read_text())
    )
    assert ours[0] == golden[0]
    assert [row[0] for row in ours] == [row[0] for row in golden]
    values, expected = (np.array([row[1:] for row in rows[1:]], dtype=float) for rows in (ours, golden))
    # Processors round differently, and later steps build on it.
    np.testing.assert_allclose(values, expected, rtol=1e-4, atol=2e-5)
