"""The exported module: the same scores in TorchScript as in eager mode, for every variant of the model."""

import copy
import io

import model_fakes
import pytest
import torch
from rounded_floats import RoundedFloats

from pinfm.embeddings.one_device.served import ServedTable
from pinfm.embeddings.quantize import quantize_rows
from pinfm.embeddings.specs import IdTable
from pinfm.inference.module import ScoringModule
from pinfm.inference.requests.checks import InputChecks
from pinfm.inference.requests.columns import input_columns
from pinfm.model.config import ColdStartConfig, ModelConfig, RankerConfig, TowerConfig
from pinfm.model.inputs import Candidates, History, own_histories
from pinfm.model.ranking.joint import RankingInputs, build_model
from pinfm.model.ranking.ranker import RankerFeatures
from pinfm.model.schema import Feature, InputSchema

FEATURES = (
    Feature(name="price", kind="dense", scope="candidate", mean=0.5, std=2.0),
    Feature(name="author", kind="categorical", scope="candidate"),
    Feature(name="age", kind="dense", scope="request", mean=-0.2, std=0.5),
    Feature(name="tab", kind="categorical", scope="request"),
    Feature(name="stock", kind="dense", scope="candidate", mean=1.0, std=0.7),
    Feature(name="brand", kind="categorical", scope="candidate"),
    Feature(name="surface", kind="categorical", scope="request"),
)
VARIANTS = {
    **model_fakes.VARIANTS,
    "content that the model ignores": {"content_dim": 3},
    "no features": {"features": ()},
    "no surface": {"features": FEATURES[:-1]},
    "features with the names of a module's attributes": {
        "features": (
            *(Feature(name=name, kind="categorical", scope="request") for name in ("type", "keys", "forward")),
            *(Feature(name=name, kind="categorical", scope="candidate") for name in ("items", "train", "half")),
        )
    },
    "no features, dot, no tower": {"features": (), "interaction": "dot", "use_tower": False},
}
# (events, candidates) of each request.
BATCHES = {
    "ragged": [(5, 2), (0, 3), (1, 0), (3, 1)],
    "all histories empty": [(0, 2), (0, 1)],
    "no candidate at all": [(3, 0), (0, 0)],
    "one candidate": [(0, 1)],
}


def build(
    fusion="early",
    interaction=model_fakes.SMALL_CROSS,
    token=False,
    content=False,
    content_vector=False,
    tower_path=False,
    content_dim=0,
    features=FEATURES,
    use_tower=True,
    precision="fp32",
    table_dim=2,
    tower=None,
    history_counts=False,
    live_counts=None,
):
    """The module, its schema, and nothing at its initial value."""
    schema = InputSchema(
        actions=("click", "save"),
        positive_actions=("save",),
        surfaces=("home", "search"),
        tasks=("click", "save", "share"),
        features=features,
        content_dim=3 if content or content_vector else content_dim,
        live_counts=live_counts,
    )
    config = ModelConfig(
        tower=TowerConfig(num_layers=2, dim=8, num_heads=2, out_dim=5, fusion=fusion, **(tower or {})),
        cold_start=ColdStartConfig(learnable_token=token, content_fusion=content),
        ranker=RankerConfig(
            interaction=interaction,
            dense_hidden=(5,),
            over_hidden=(7, 6),
            content_vector=content_vector,
            tower_path=tower_path,
            history_counts=history_counts,
        ),
        use_tower=use_tower,
    )
    names = ["user_id", *(f.name for f in features if f.kind == "categorical")]
    tables = {
        name: served(IdTable(name=name, num_hashes=2, rows=19, dim=table_dim), "feature_tables", precision)
        for name in names
    }
    items = served(IdTable(name="item", num_hashes=3, rows=23, dim=table_dim), "item_tables", precision)
    checks = InputChecks(input_columns(schema), 8)
    module = ScoringModule(build_model(config, schema, items.dim, 2 * table_dim), items, tables, schema, checks).eval()
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.add_(0.3 * torch.randn_like(parameter))
    return module, schema


def served(table, collection, precision="fp32"):
    """The table with random rows."""
    lookup = ServedTable(table, precision, collection)
    for name in lookup.names:
        rows = 0.5 * torch.randn(table.rows, table.dim)
        lookup.place(name, rows if precision == "fp32" else quantize_rows(rows, bits=4))
    return lookup


def inputs_of(schema, lengths):
    """Random inputs; ids are any int64."""
    events, candidates = (torch.tensor(column) for column in zip(*lengths, strict=True))
    sizes = {"request": len(lengths), "history": int(events.sum()), "candidate": int(candidates.sum())}

    def any_ids(scope):
        return torch.empty(sizes[scope], dtype=torch.int64).random_(-(2**63), None)

    now = 2 * 10**9
    times = [torch.randint(10**9, now, (int(n),)).sort().values for n in events]
    inputs = {
        "user_id": any_ids("request"),
        "request_timestamp": torch.full([sizes["request"]], now),
        "history_lengths": events,
        "history_item_id": any_ids("history"),
        "history_action": torch.randint(3, (sizes["history"],)),
        "history_surface": torch.randint(2, (sizes["history"],)),
        "history_timestamp": torch.cat(times),
        "candidate_lengths": candidates,
        "candidate_item_id": any_ids("candidate"),
        "candidate_created_at": torch.randint(10**9, now, (sizes["candidate"],)),
    }
    if schema.content_dim:
        inputs["candidate_content"] = torch.randn(sizes["candidate"], schema.content_dim)
        inputs["candidate_content"][1:2] = 0.0
    for feature in schema.features:
        categorical = feature.kind == "categorical"
        inputs[feature.name] = any_ids(feature.scope) if categorical else 3 * torch.randn(sizes[feature.scope])
    if schema.has_request_surface:
        inputs["surface"] = torch.randint(3, (sizes["request"],))
    return inputs


@pytest.mark.parametrize("options", VARIANTS.values(), ids=VARIANTS)
@torch.no_grad()
def test_torchscript_equals_eager(options):
    module, schema = build(**options)
    file = io.BytesIO()
    torch.jit.save(torch.jit.script(module), file)
    file.seek(0)
    scripted = torch.jit.load(file)
    # A scripted module profiles its first call and optimises later ones, so the first shape comes round again.
    for lengths in [*BATCHES.values(), BATCHES["ragged"]]:
        inputs = inputs_of(schema, lengths)
        expected, found = module(inputs), scripted(inputs)
        assert list(found) == list(expected) == ["click", "save", "share"]
        for task in expected:
            assert expected[task].shape == (sum(count for _, count in lengths),)
            assert torch.equal(found[task], expected[task])


@pytest.mark.parametrize("options", VARIANTS.values(), ids=VARIANTS)
@torch.no_grad()
def test_no_whole_number_and_no_mask_is_made_of_rounded_floats(options):
    module, schema = build(**options)
    inputs = inputs_of(schema, BATCHES["ragged"])  # no rounding of ours
    with RoundedFloats() as watched:
        module(inputs)
    assert watched.found == set()


@pytest.mark.parametrize("options", VARIANTS.values(), ids=VARIANTS)
@torch.no_grad()
def test_every_device_scores_as_the_cpu_does(options, device):
    module, schema = build(**options)
    elsewhere = copy.deepcopy(module).to(device)
    for lengths in BATCHES.values():
        inputs = with_gaps_at_edges(inputs_of(schema, lengths))
        found = elsewhere({name: values.to(device) for name, values in inputs.items()})
        torch.testing.assert_close({t: p.cpu() for t, p in found.items()}, module(inputs), rtol=0, atol=1e-5)


def with_gaps_at_edges(inputs):
    """The inputs with gaps between events that are the first or the last of a bucket."""
    gaps = torch.tensor([2**k - d for k in range(1, 20) for d in (0, 1, 2)])
    times = inputs["history_timestamp"]
    return {**inputs, "history_timestamp": 2 * 10**9 - gaps[: len(times)].flip(0).cumsum(0).flip(0) - 1}


@pytest.mark.parametrize("variant", ["early, dot", "token and content", "lite_mean", "no tower"])
@torch.no_grad()
def test_freezing_changes_no_more_than_rounding(variant):
    module, schema = build(**VARIANTS[variant])
    frozen = torch.jit.freeze(torch.jit.script(module))
    for lengths in BATCHES.values():
        inputs = inputs_of(schema, lengths)
        torch.testing.assert_close(frozen(inputs), module(inputs), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("options", VARIANTS.values(), ids=VARIANTS)
@torch.no_grad()
def test_the_dense_part_in_bf16(options):
    module, schema = build(**options)
    tables = dict(zip(module.request_names, module.request_tables, strict=True))
    tables |= dict(zip(module.candidate_names, module.candidate_tables, strict=True))
    model = copy.deepcopy(module.model)
    of_half = ScoringModule(model, module.item_tables, tables, schema, module.checks, torch.bfloat16)
    half = torch.jit.freeze(torch.jit.script(of_half.eval()))
    assert {parameter.dtype for parameter in model.parameters()} == {torch.bfloat16}
    for lengths in BATCHES.values():
        inputs = inputs_of(schema, lengths)
        torch.testing.assert_close(half(inputs), module(inputs), rtol=0, atol=2e-2)


@torch.no_grad()
def test_inputs_reach_the_model_by_their_names():
    module, schema = build(content=True)
    inputs = inputs_of(schema, BATCHES["ragged"])
    tables = dict(zip(module.request_names, module.request_tables, strict=True))
    tables |= dict(zip(module.candidate_names, module.candidate_tables, strict=True))
    item_TE, item_NE = (module.item_tables(inputs[f"{scope}_item_id"]) for scope in ("history", "candidate"))
    ranking_inputs = RankingInputs(
        history=History(
            lengths=inputs["history_lengths"],
            item_id=inputs["history_item_id"],
            action=inputs["history_action"],
            surface=inputs["history_surface"],
            timestamp=inputs["history_timestamp"],
        ),
        candidates=Candidates(
            lengths=inputs["candidate_lengths"],
            request_timestamp=inputs["request_timestamp"],
            item_id=inputs["candidate_item_id"],
            created_at=inputs["candidate_created_at"],
            content=inputs["candidate_content"],
            surface=inputs["surface"],
        ),
        item_TE=item_TE,
        item_NE=item_NE,
        features=RankerFeatures(
            request_vectors=torch.stack([tables[name](inputs[name]) for name in ("user_id", "tab", "surface")], dim=1),
            candidate_vectors=torch.stack([tables[name](inputs[name]) for name in ("author", "brand")], dim=1),
            request_dense=inputs["age"][:, None],
            candidate_dense=torch.stack([inputs["price"], inputs["stock"]], dim=1),
        ),
        reads=own_histories(inputs["history_lengths"]),
    )
    output = module.model(ranking_inputs)
    for k, probabilities in enumerate(module(inputs).values()):
        torch.testing.assert_close(probabilities, 1 / (1 + (-output.logits[:, k]).exp()))


@torch.no_grad()
def test_every_input_changes_some_score():
    module, schema = build(content=True)
    inputs = inputs_of(schema, [(5, 2), (2, 2)])
    before = torch.stack(list(module(inputs).values()))
    lengths = {"history_lengths", "candidate_lengths"}
    # Item age acts through the dropout of training alone.
    for name in inputs.keys() - lengths - {"candidate_created_at"}:
        values = inputs[name]
        if name in ("history_action", "history_surface", "surface"):
            other = 1 - values.clamp(max=1)
        elif name == "history_timestamp":
            other = values // 1000
        elif name == "request_timestamp":
            other = values * 2
        else:
            other = values + 1
        after = torch.stack(list(module({**inputs, name: other}).values()))
        assert (after - before).abs().max() > 1e-7, name


@pytest.mark.parametrize("reader", ["token", "ranker"])
@torch.no_grad()
def test_token_and_ranker_each_read_the_surface_of_the_request(reader):
    module, schema = build()
    if reader == "token":  # the ranker sees one vector for all surfaces
        table = module.request_tables[module.request_names.index("surface")]
        for name in table.names:
            table.place(name, torch.zeros(19, 2))
    else:  # the tower too
        module.model.encoder.tokens.surface.weight.zero_()
    inputs = inputs_of(schema, [(5, 2), (0, 3)])
    scores = [module({**inputs, "surface": torch.tensor([1, code])})["click"] for code in (1, 2)]
    assert torch.equal(scores[0][:2], scores[1][:2])
    assert ((scores[0] - scores[1])[2:].abs() > 1e-6).all()
