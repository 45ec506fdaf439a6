"""The shared dataset and runs of tests/runs.py as fixtures."""

from pathlib import Path

import pytest
import runs


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
