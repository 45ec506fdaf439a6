"""How a comparison tells of processes of its own that failed."""

import re
import sys

import pytest
import runs

from pinfm.embeddings.errors import UserError
from pinfm.train.comparison import compare as module_under_test
from pinfm.train.comparison.compare import compare
from pinfm.train.comparison.comparison import Comparison
from pinfm.train.comparison.places import Places
from pinfm.train.comparison.serving import Serving, measured_latency


@pytest.fixture
def comparison(dataset, tmp_path):
    return Comparison(
        config=runs.CONFIG,
        data=dataset,
        out=tmp_path / "out",
        forms={"dot": "dot"},
        learning_rates=(0.001,),
        seeds=(0,),
    )


@pytest.mark.parametrize(
    ("ends", "error", "told"),
    [
        ("import os; os.kill(os.getpid(), 9)", UserError, r"dot was killed \(signal 9\).*call again with fewer --jobs"),
        ("raise ValueError('a bug')", RuntimeError, "the process of dot failed with status 1; .*dot.txt says why"),
        (
            "import sys; print('pinfm: the loss is nan.', file=sys.stderr); sys.exit(2)",
            UserError,
            re.escape("dot: the loss is nan."),
        ),
    ],
)
def test_a_worker_that_failed_is_told(comparison, tmp_path, monkeypatch, ends, error, told):
    (tmp_path / "stand_in.py").write_text(ends)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    monkeypatch.setattr(module_under_test, "WORKER", "stand_in")
    with pytest.raises(error, match=told):
        compare(comparison, Serving(), 1)
    assert Places(comparison.out, "dot").log.exists()


@pytest.mark.parametrize(
    ("status", "error", "told"),
    [
        (2, UserError, "the artefacts could not be timed, as told above"),
        (1, RuntimeError, "`pinfm latency` failed with status 1"),
    ],
)
def test_a_latency_that_was_not_measured_is_told(comparison, tmp_path, monkeypatch, status, error, told):
    model = Places(comparison.out, "dot").model
    model.mkdir(parents=True)
    (model / "manifest.json").write_text("{}")
    python = tmp_path / "python"
    python.write_text(f"#!/bin/sh\nexit {status}\n")
    python.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(python))
    with pytest.raises(error, match=told):
        measured_latency(comparison, Serving())


def test_a_serving_without_candidates_is_refused():
    with pytest.raises(UserError, match=r"candidates \(0\) must be at least 1"):
        Serving(candidates=0)
