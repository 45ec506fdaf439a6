"""A tiny run and the requests that are attacked."""

from pathlib import Path

import pytest
from robustness_fakes import tiny_requests

from benchmarks.parts.robustness.requests import Requests
from benchmarks.parts.robustness.victim import scored_run, served_reference
from pinfm.inference.module import ScoringModule
from pinfm.model.adaptation.reference import Reference


@pytest.fixture(scope="session")
def victim(finetuned: Path) -> ScoringModule:
    return scored_run(finetuned)


@pytest.fixture(scope="session")
def requests(dataset: Path) -> Requests:
    return tiny_requests(dataset)


@pytest.fixture(scope="session")
def reference(victim: ScoringModule, finetuned: Path) -> Reference:
    return served_reference(victim, finetuned)
