"""Every host refuses the same inputs in the same words; C++ runs the same list in test_cpp.py."""

import re

import pandas as pd
import pytest
import torch
from bad_inputs import BAD_INPUTS, frame_of

from pinfm.embeddings.errors import UserError
from pinfm.inference import load


@pytest.fixture(scope="module")
def scorer(exported):
    return load(exported)


@pytest.fixture
def inputs(finetuned, scorer):
    return scorer.inputs(pd.read_parquet(finetuned / "requests.parquet"))


@pytest.mark.parametrize("bad", BAD_INPUTS, ids=lambda bad: bad.name)
def test_the_module_refuses_it(scorer, inputs, bad):
    bad.spoil(inputs)
    with pytest.raises(torch.jit.Error, match=bad.sentence):
        scorer.module(inputs)


@pytest.mark.parametrize("bad", [bad for bad in BAD_INPUTS if not bad.tensors_only], ids=lambda bad: bad.name)
def test_python_refuses_it(scorer, inputs, bad):
    bad.spoil(inputs)
    with pytest.raises(UserError, match=bad.sentence):
        scorer.score(frame_of(inputs, scorer.columns))


def test_the_row_is_that_of_the_file(scorer, inputs):
    (bad,) = (bad for bad in BAD_INPUTS if bad.name == "before 1970")
    bad.spoil(inputs)
    frame = frame_of(inputs, scorer.columns)
    with pytest.raises(UserError, match=re.escape("row 102: request_timestamp holds -5")):
        scorer.score(frame, first_row=100)
    with pytest.raises(UserError, match=re.escape("row 2: request_timestamp holds -5")):
        scorer.score(frame, batch_size=2)


def test_what_is_no_mistake_is_scored(scorer, inputs):
    """Tomorrow's requests, items older than Unix time, values that float32 holds though the tensor is wider."""
    scores = scorer.module(inputs)
    inputs["position"] = inputs["position"].double()
    later = {**inputs, "candidate_created_at": inputs["candidate_created_at"] * 0 - 10**9}
    later["request_timestamp"] = inputs["request_timestamp"] + 86_400 * 365
    assert all(torch.isfinite(values).all() for values in scorer.module(later).values())
    for task, values in scorer.module(inputs).items():
        torch.testing.assert_close(values, scores[task])
