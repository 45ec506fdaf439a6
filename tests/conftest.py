"""Fixtures of the whole suite."""

from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from pinfm.train.distributed import process_group

ROOT = Path(__file__).parents[1]


@pytest.fixture(autouse=True)
def seeded() -> None:
    """Every test draws the same random numbers, whichever ran before it."""
    torch.manual_seed(0)


@pytest.fixture
def group() -> Iterator[torch.distributed.ProcessGroup]:
    """A gloo group of this process alone."""
    with process_group(torch.device("cpu")) as joined:
        yield joined


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of full data sets beside the checkout, where there is one."""
    folder = ROOT.parent / "shared" / "data"
    if not folder.is_dir():
        pytest.skip("../shared/data is not beside this checkout: the full data sets are not there to read")
    return folder
