"""A tiny run and the requests that are attacked."""

import copy
from pathlib import Path

import pytest
import torch
from robustness_fakes import tiny_requests

from benchmarks.parts.robustness.requests import Requests
from benchmarks.parts.robustness.victim import scored_run, served_reference
from pinfm.inference.module import ScoringModule
from pinfm.model.adaptation.reference import Reference


@pytest.fixture(scope="session")
def victim(finetuned: Path) -> ScoringModule:
    return scored_run(finetuned)


@pytest.fixture(scope="session")
def sensitive(victim: ScoringModule) -> ScoringModule:
    """The same with thirty times the weight on its tower, which so tiny a run hardly reads."""
    module = copy.deepcopy(victim)
    with torch.no_grad():
        module.model.ranker.sparse_arch.projections[1].weight.mul_(30)
    return module


@pytest.fixture(scope="session")
def requests(dataset: Path) -> Requests:
    return tiny_requests(dataset)


@pytest.fixture(scope="session")
def reference(victim: ScoringModule, finetuned: Path) -> Reference:
    return served_reference(victim, finetuned)
