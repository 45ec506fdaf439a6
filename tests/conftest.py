"""Fixtures of the whole suite."""

from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from pinfm.train.distributed import process_group

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="session")
def repository() -> Path:
    """The root of the checkout."""
    return ROOT


@pytest.fixture
def rng() -> torch.Generator:
    """The suite's one source of seeded randomness: `torch.randn(..., generator=rng)`."""
    return torch.Generator().manual_seed(20240425)


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
