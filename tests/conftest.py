"""Fixtures of the whole suite."""

from collections.abc import Iterator
from pathlib import Path

import probing
import pytest
import runs
import torch
from hypothesis import HealthCheck, settings

from pinfm.train.distributed import process_group

ROOT = Path(__file__).parents[1]

# Each core has a process of its own.
torch.set_num_threads(1)
# How long an example or the drawing of one takes tells how busy the machine is.
settings.register_profile("pinfm", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("pinfm")


@pytest.fixture(autouse=True)
def seeded() -> None:
    """Every test draws the same random numbers, whichever ran before it."""
    torch.manual_seed(0)


@pytest.fixture(params=["cpu", pytest.param("cuda", marks=pytest.mark.gpu)])
def device(request: pytest.FixtureRequest) -> torch.device:
    """Where a test computes: what it asserts of a GPU, the CPU of the default tier proves of the test."""
    return torch.device(request.param)


@pytest.fixture
def group() -> Iterator[torch.distributed.ProcessGroup]:
    """A gloo group of this process alone."""
    with process_group(torch.device("cpu")) as joined:
        yield joined


@pytest.fixture(scope="module")
def mpzch_kernel() -> Iterator[None]:
    """A loop in the place of MPZCH's kernel for training, which only CUDA has."""
    with pytest.MonkeyPatch.context() as patches:
        probing.train_without_a_gpu(patches)
        yield


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of full data sets beside the checkout, where there is one."""
    folder = ROOT.parent / "shared" / "data"
    if not folder.is_dir():
        pytest.skip("../shared/data is not beside this checkout: the full data sets are not there to read")
    return folder


# The dataset and the runs of runs.py, made once for all tests that ask.


@pytest.fixture(scope="session")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.getbasetemp()


@pytest.fixture(scope="session")
def dataset(root: Path) -> Path:
    return runs.tiny_dataset(root)


@pytest.fixture(scope="session")
def pretrained(root: Path) -> Path:
    return runs.pretrained_run(root)


@pytest.fixture(scope="session")
def finetuned(root: Path) -> Path:
    return runs.finetuned_run(root)


@pytest.fixture(scope="session")
def exported(root: Path) -> Path:
    return runs.exported_model(root)
