"""One encoding serves retrieval and ranking: `encode`, `score_encoded` and `user_vectors` of the exported module."""

import io

import pandas as pd
import pytest
import torch
from bad_inputs import BAD_INPUTS
from test_module import BATCHES, VARIANTS, build, inputs_of

from pinfm.inference import load
from pinfm.inference.export import PRESERVED, export
from pinfm.inference.options import ExportOptions
from pinfm.model.adaptation.config import TrustConfig
from pinfm.model.inputs import History
from pinfm.model.layers.tokens import NUM_GAP_BUCKETS, RequestTime, gap_buckets

WITH_TOWER = {name: options for name, options in VARIANTS.items() if "no tower" not in name}
# Both times are wrong in these: whoever sees histories first tells of theirs.
OF_ALL_TIMES = {"milliseconds": r"row 0: history_timestamp .* in the future", "dates": "row 0: history_timestamp holds"}


def frozen(module):
    """As an artefact is: frozen, saved and loaded."""
    file = io.BytesIO()
    torch.jit.save(torch.jit.freeze(torch.jit.script(module), preserved_attrs=PRESERVED), file)
    file.seek(0)
    return torch.jit.load(file)


def of_scope(inputs, *, histories):
    return {name: values for name, values in inputs.items() if name.startswith("history_") == histories}


@pytest.mark.parametrize("options", VARIANTS.values(), ids=VARIANTS)
@torch.no_grad()
def test_forward_is_both_stages_bit_for_bit(options):
    module, schema = build(**options)
    for served in (module, frozen(module)):
        for lengths in [*BATCHES.values(), BATCHES["ragged"]]:
            inputs = inputs_of(schema, lengths)
            encoded = served.encode(of_scope(inputs, histories=True))
            found, expected = served.score_encoded(encoded, of_scope(inputs, histories=False)), served(inputs)
            assert list(found) == list(expected) == list(schema.tasks)
            assert all(torch.equal(found[task], expected[task]) for task in expected)


@pytest.mark.parametrize("options", WITH_TOWER.values(), ids=WITH_TOWER)
@torch.no_grad()
def test_user_vectors_are_the_states_after_the_newest_events(options):
    module, schema = build(**options)
    encoder = module.model.encoder
    encoder.request_time = RequestTime(8).eval()  # of the variants' width
    torch.nn.init.normal_(encoder.request_time.gap.weight)
    served = frozen(module)
    for lengths in BATCHES.values():
        inputs = inputs_of(schema, lengths)
        history = History(*(inputs[f"history_{name}"] for name in History._fields))
        gap_T = torch.full_like(history.item_id, NUM_GAP_BUCKETS)
        last = [int(end) - 1 for end in history.lengths.cumsum(0)]
        for user, row in enumerate(last):
            if history.lengths[user]:
                gap_T[row] = gap_buckets(inputs["request_timestamp"][user] - history.timestamp[row])
        states = encoder.states(encoder.encode_context(history, module.item_tables(history.item_id)), gap_T)
        found = served.user_vectors(served.encode(inputs), inputs)
        assert found.shape == (len(lengths), 5)
        for user, row in enumerate(last):
            expected = states[row] if history.lengths[user] else torch.zeros(5)
            torch.testing.assert_close(found[user], expected, rtol=0, atol=1e-5)


@torch.no_grad()
def test_catalogue_vectors_are_psi_of_item_vectors():
    module, _ = build()
    ids = torch.tensor([3, -(2**63), 3])
    found = frozen(module).catalogue_vectors(ids)
    torch.testing.assert_close(found, module.model.encoder.psi(module.item_tables(ids)))
    torch.testing.assert_close(found.norm(dim=1), torch.ones(3))


@torch.no_grad()
def test_a_model_without_a_tower_encodes_nothing_and_makes_no_vectors():
    module, schema = build(use_tower=False)
    inputs = inputs_of(schema, BATCHES["ragged"])
    encoded = module.encode(inputs)
    assert encoded.context.keys == encoded.context.values == []
    assert encoded.context.rows.numel() == 0
    with pytest.raises(ValueError, match=r"use_tower: false, so it has no vectors .* a model that has a tower\.$"):
        module.user_vectors(encoded, inputs)
    with pytest.raises(torch.jit.Error, match="use_tower: false, so it has no vectors"):
        frozen(module).catalogue_vectors(inputs["candidate_item_id"])


@pytest.fixture(scope="module")
def scorer(exported):
    return load(exported)


@pytest.fixture
def inputs(finetuned, scorer):
    return scorer.inputs(pd.read_parquet(finetuned / "requests.parquet"))


@pytest.mark.parametrize("layout", ["whole", "apart"])
def test_the_artefact_scores_in_stages(root, finetuned, layout):
    """Later requests of the same users, and another page of candidates, ask the same encoding."""
    folder = root / f"in_stages_{layout}"
    export(finetuned, folder, ExportOptions(layout=layout))
    scorer = load(folder)
    inputs = scorer.inputs(pd.read_parquet(finetuned / "requests.parquet"))
    later = {**inputs, "request_timestamp": inputs["request_timestamp"] + 50_000}
    second = {name: values.clone() for name, values in later.items()}
    second["candidate_item_id"] = second["candidate_item_id"].flip(0)
    encoded = scorer.module.encode(inputs)
    for asked in (inputs, later, second):
        for task, expected in scorer.module(asked).items():
            assert torch.equal(scorer.module.score_encoded(encoded, asked)[task], expected)
    assert not torch.equal(scorer.module(inputs)["click"], scorer.module(later)["click"])


@torch.no_grad()
def test_a_user_has_the_same_vector_alone_and_in_a_batch(scorer, inputs):
    together = scorer.module.user_vectors(scorer.module.encode(inputs), inputs)
    first = 0
    for user, length in enumerate(inputs["history_lengths"].tolist()):
        alone = {name: values[first : first + length] for name, values in inputs.items() if name.startswith("history_")}
        alone["history_lengths"] = inputs["history_lengths"][user : user + 1]
        alone["request_timestamp"] = inputs["request_timestamp"][user : user + 1]
        found = scorer.module.user_vectors(scorer.module.encode(alone), alone)
        torch.testing.assert_close(found[0], together[user], rtol=0, atol=1e-6)
        first += length


def test_an_adapted_model_encodes_what_it_trusts(root, finetuned):
    folder = root / "in_stages_trust"
    export(finetuned, folder, ExportOptions(adapt="trust", trust=TrustConfig(anchors=8, threshold=0.5), max_auc_loss=1))
    scorer = load(folder)
    inputs = scorer.inputs(pd.read_parquet(finetuned / "requests.parquet"))
    encoded = scorer.module.encode(inputs)
    trusted = scorer.module.trust(inputs) >= 0.5
    assert torch.equal(encoded.history.item_id, inputs["history_item_id"])
    assert torch.equal(encoded.read.item_id, inputs["history_item_id"][trusted])
    for task, expected in scorer.module(inputs).items():
        assert torch.equal(scorer.module.score_encoded(encoded, inputs)[task], expected)
    vectors = scorer.module.user_vectors(encoded, inputs)
    assert torch.equal(vectors.abs().sum(1) > 0, encoded.read.lengths > 0)


@pytest.mark.parametrize("bad", BAD_INPUTS, ids=lambda bad: bad.name)
def test_the_stages_refuse_what_forward_refuses(scorer, inputs, bad):
    bad.spoil(inputs)
    with pytest.raises(torch.jit.Error, match=OF_ALL_TIMES.get(bad.name, bad.sentence)):
        scorer.module.score_encoded(scorer.module.encode(of_scope(inputs, histories=True)), inputs)


def test_retrieval_reads_the_time_of_requests_alone(scorer, inputs):
    encoded, times = scorer.module.encode(inputs), inputs["request_timestamp"]
    scorer.module.user_vectors(encoded, {"request_timestamp": times})
    for spoilt, sentence in (
        ({}, "the inputs lack request_timestamp"),
        ({"request_timestamp": times[:2]}, r"request_timestamp has 2 values, but \d+ histories were encoded; give the"),
        ({"request_timestamp": times * 1000}, "row 0: request_timestamp holds .* in the future"),
        ({"request_timestamp": times * 0 + 5}, "row 0: history_timestamp holds an event that is not older"),
    ):
        with pytest.raises(torch.jit.Error, match=sentence):
            scorer.module.user_vectors(encoded, spoilt)


def test_requests_of_other_histories_are_refused(scorer, inputs):
    encoded = scorer.module.encode(inputs)
    with pytest.raises(torch.jit.Error, match=r"user_id has 1 values, but \d+ histories were encoded; give the requ"):
        scorer.module.score_encoded(encoded, {**inputs, "user_id": inputs["user_id"][:1]})
