"""The planted world: its terms are what they are said to be, its ceilings hold, and the recipe learns it."""

import json
from itertools import combinations, product

import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression

from benchmarks.parts.quality.planted import RECIPE, ceilings, ceilings_path, planted_dataset, read_ceilings
from benchmarks.parts.quality.planted_world import BIAS, World, WorldConfig
from pinfm.embeddings.errors import UserError
from pinfm.train.cli.main import main
from pinfm.train.data.dataset import PreparedDataset
from pinfm.train.metrics.ranking import auc

# Few enough values to list every combination of them.
LISTED = WorldConfig(
    num_users=2, num_items=3, num_request_fields=2, num_item_fields=2, num_values=4, num_pairs=3, num_triples=2
)
SMALL = WorldConfig(num_requests=400, num_users=30, num_items=20)


def every_combination(config):
    """Users, items, fields and the two dense features, which take -1 and 1; one row a combination."""
    sizes = [config.num_users, config.num_items, *[config.num_values] * config.num_fields]
    rows = np.array(list(product(*map(range, sizes), (-1, 1), (-1, 1))))
    return rows[:, 0], rows[:, 1], rows[:, 2:-2], rows[:, -2:].astype(float)


def group_means(term, columns):
    """The term's projection on functions of these columns."""
    groups = np.unique(np.stack(columns, axis=1), axis=0, return_inverse=True)[1].ravel()
    return np.bincount(groups, term) / np.bincount(groups)


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_a_term_has_nothing_in_common_with_lower_orders(seed):
    world = World(WorldConfig(**{**vars(LISTED), "seed": seed}))
    users, items, fields, dense = every_combination(world.config)
    terms = world.terms(users, items, fields, dense)
    columns = [users, items, *fields.T, *dense.T]
    for term, order in zip(terms.T, (1, 2, 3), strict=True):
        for chosen in combinations(columns, order - 1):
            means = group_means(term, chosen) if chosen else term.mean()
            np.testing.assert_allclose(means, 0, atol=1e-12)
        of_own_order = [np.abs(group_means(term, chosen)).max() for chosen in combinations(columns, order)]
        assert max(of_own_order) > 0.1


def test_the_weights_are_the_shares_of_the_log_odds():
    terms = World(LISTED).terms(*every_combination(LISTED))
    np.testing.assert_allclose(np.cov(terms.T, bias=True), np.eye(3), atol=1e-12)


def test_log_odds_add_up_and_clicks_follow_them():
    config = WorldConfig(weights=(0.5, 0.7, 1.1))
    shown = World(config).show()
    terms = World(config).terms(shown.user_N, shown.item_N, shown.field_NF, shown.dense_N2)
    np.testing.assert_allclose(shown.log_odds_N3[:, 1], terms[:, :2] @ [0.5, 0.7], atol=1e-12)
    np.testing.assert_allclose(shown.log_odds_N3[:, 2], terms @ [0.5, 0.7, 1.1], atol=1e-12)
    for k, order in enumerate((2, 3)):
        chance = 1 / (1 + np.exp(-BIAS - shown.log_odds_N3[:, order - 1]))
        for low, high in ((0, 0.2), (0.2, 0.4), (0.4, 0.6), (0.6, 1)):
            inside = (low <= chance) & (chance < high)
            assert shown.click_NK[inside, k].mean() == pytest.approx(chance[inside].mean(), abs=0.01)


def test_a_request_shows_different_items_and_shares_its_own_fields():
    shown = World(SMALL).show()
    C = SMALL.num_candidates
    assert all(len(set(items)) == C for items in shown.item_N.reshape(-1, C).tolist())
    shared = np.column_stack([shown.user_N, shown.timestamp_N, shown.field_NF[:, :6], shown.dense_N2[:, 0]])
    of_request = shared.reshape(-1, C, shared.shape[1])
    assert (of_request == of_request[:, :1]).all()
    assert (shown.field_NF[:, 6:].reshape(-1, C, 4) != shown.field_NF[::C, None, 6:]).any(axis=(0, 1)).all()


def test_ceilings_ascend_with_the_order():
    always = (0, 1 << 40)
    found = ceilings(World(WorldConfig()).show(), {"validation": always, "test": always})
    for of in (found["test"]["pairs"], found["test"]["triples"]):
        assert 0.6 < of["first_order"] < of["second_order"] - 0.05
    assert found["test"]["triples"]["bayes"] > found["test"]["triples"]["second_order"] + 0.05
    assert found["test"]["pairs"]["bayes"] == found["test"]["pairs"]["second_order"]


def test_a_fitted_model_of_an_order_reaches_the_projection_and_hardly_passes_it():
    """Fitted on half of a world, to effects, factors, their squares and the products of two; judged on the other."""
    world = World(WorldConfig())
    shown = world.show()
    first_N1 = world.terms(shown.user_N, shown.item_N, shown.field_NF, shown.dense_N2)[:, :1]
    factor_NF = world.factor_FV[np.arange(world.config.num_fields), shown.field_NF]
    products = [factor_NF[:, f] * factor_NF[:, g] for f, g in combinations(range(world.config.num_fields), 2)]
    half = len(first_N1) // 2
    middle = int(shown.timestamp_N[half])
    found = ceilings(shown, {"validation": (0, middle), "test": (middle, 1 << 40)})["test"]["triples"]
    first_order = np.column_stack([first_N1, factor_NF, factor_NF**2])
    for name, x in (("first_order", first_order), ("second_order", np.column_stack([first_order, *products]))):
        fitted = LogisticRegression(max_iter=300).fit(x[:half], shown.click_NK[:half, 1])
        score = torch.from_numpy(fitted.predict_proba(x[half:])[:, 1])
        reached = auc(score, torch.from_numpy(shown.click_NK[half:, 1]))
        assert -0.001 < reached - found[name] < 0.01, name


@pytest.fixture(scope="module")
def planted(tmp_path_factory):
    return planted_dataset(tmp_path_factory.mktemp("planted") / "dataset", SMALL)


def test_the_dataset_has_the_features_of_a_ranker(planted):
    info = PreparedDataset.open(planted).info
    assert info.schema.tasks == ("pairs", "triples")
    scopes = {(f.name, f.kind): f.scope for f in info.schema.features}
    fields = {(f"request_{f}", "categorical"): "request" for f in range(1, 7)}
    fields |= {(f"item_{f}", "categorical"): "candidate" for f in range(1, 5)}
    assert scopes == {**fields, ("request_dense", "dense"): "request", ("item_dense", "dense"): "candidate"}
    assert all(f.num_values == 20 for f in info.schema.features if f.kind == "categorical")
    assert info.counts.impressions == {"train": 3200, "validation": 400, "test": 400}
    assert (info.counts.users, info.counts.items) == (30, 20)


def test_the_ceilings_are_those_of_the_split(planted):
    shown, (start, _) = World(SMALL).show(), PreparedDataset.open(planted).info.splits["test"]
    inside = shown.timestamp_N >= start
    assert inside.sum() == 400
    rank = torch.from_numpy(np.argsort(np.argsort(shown.log_odds_N3[inside, 2])) / 400)
    bayes = auc(rank, torch.from_numpy(shown.click_NK[inside, 1]))
    assert read_ceilings(planted)["test"]["triples"]["bayes"] == pytest.approx(bayes, abs=1e-6)


def test_a_world_is_the_same_whenever_it_is_made(planted, tmp_path):
    again = planted_dataset(tmp_path / "dataset", SMALL)
    files = sorted(path.relative_to(planted) for path in planted.rglob("*.parquet"))
    assert len(files) > 2
    for file in files:
        assert (planted / file).read_bytes() == (again / file).read_bytes()
    assert ceilings_path(planted).read_text() == ceilings_path(again).read_text()
    other = World(WorldConfig(**{**vars(SMALL), "seed": 1})).show()
    assert (other.field_NF != World(SMALL).show().field_NF).mean() > 0.9


def test_a_world_is_prepared_once_and_not_taken_for_another(planted):
    before = (planted / "dataset.json").stat().st_mtime_ns
    assert planted_dataset(planted, SMALL) == planted
    assert (planted / "dataset.json").stat().st_mtime_ns == before
    with pytest.raises(
        UserError, match=r"another planted world, whose settings are in .*dataset.ceilings.json; remove"
    ):
        planted_dataset(planted)


def test_the_recipe_learns_more_than_first_order(tmp_path):
    config = WorldConfig(
        num_requests=4000, num_users=50, num_items=40, num_values=6, num_pairs=12, num_triples=6, weights=(0.5, 1.5, 1)
    )
    data = planted_dataset(tmp_path / "dataset", config)
    run, report = tmp_path / "run", tmp_path / "report.json"
    assert main(["finetune", "--config", str(RECIPE), "--data", str(data), "--out", str(run)]) == 0
    assert main(["evaluate", str(run), "--data", str(data), "--report", str(report)]) == 0
    metrics = json.loads(report.read_text())["metrics"]["model"]
    for task, of in read_ceilings(data)["test"].items():
        assert metrics[task]["auc"] > of["first_order"] + 0.05
