"""The claims' table: a verdict follows from the interval over seeds, or over the rounds of timing."""

import pytest

from benchmarks.interactions import forms_of
from benchmarks.parts.quality.claims import CLAIMS, EXTRA_FORMS, Claim, claims_table
from benchmarks.parts.quality.interaction_data import DATASETS, config_of
from pinfm.model.ranking.interactions.settings import interaction_plan
from pinfm.train.recipes import recipe_path


def form(aucs, rounds=(10.0, 11.0, 10.5)):
    tasks = [{"click": {"auc": auc + 0.01}, "save": {"auc": auc - 0.01}} for auc in aucs]
    seeds = {str(seed): {"test": of_seed} for seed, of_seed in enumerate(tasks)}
    return {"seeds": seeds, "latency": {"rounds_p50_ms": list(rounds)}}


@pytest.fixture
def claims(monkeypatch):
    claims = (
        Claim(told="clear", ours="good", theirs="bad"),
        Claim(told="reversed", ours="bad", theirs="good"),
        Claim(told="noise", ours="good", theirs="near"),
        Claim(told="faster", ours="good", theirs="slow", of="latency"),
        Claim(told="not run", ours="good", theirs="nobody"),
    )
    monkeypatch.setattr("benchmarks.parts.quality.claims.CLAIMS", claims)
    forms = {
        "good": form([0.70, 0.71, 0.72]),
        "bad": form([0.60, 0.61, 0.62001]),
        "near": form([0.69, 0.72, 0.71]),
        "slow": form([0.70, 0.71, 0.72], rounds=(20.0, 21.1, 20.5)),
    }
    return {"forms": forms}


def test_a_verdict_follows_from_the_interval(claims):
    lines = [[cell.strip() for cell in line.strip("|").split("|")] for line in claims_table(claims).splitlines()[2:]]
    assert [(line[0], line[-1]) for line in lines] == [
        ("clear", "shown"),
        ("reversed", "refuted"),
        ("noise", "cannot tell"),
        ("faster", "shown"),
    ]
    assert lines[0][3] == "+0.1000 ± 0.0000 AUC"
    assert lines[2][3].startswith("+0.0033 ± ")
    assert lines[3][3].startswith("+10.03 ± ")
    assert lines[3][3].endswith(" ms")


def test_a_claim_may_be_of_one_task(claims):
    for run in claims["forms"]["good"]["seeds"].values():
        run["test"]["save"]["auc"] = 0.5
    heading, _, line, *_ = claims_table(claims, "save").splitlines()
    assert "the paper's claim, on save" in heading
    assert "refuted" in line


def test_every_claim_is_of_forms_that_are_run():
    run = forms_of("planted") | forms_of("kuairand")
    assert {name for claim in CLAIMS for name in (claim.ours, claim.theirs)} <= run.keys()
    for value in run.values():
        interaction_plan(value)


def test_a_claim_of_sequences_compares_as_many_layers():
    parallel = EXTRA_FORMS["dcn_v2_3_parallel"]["parallel"]
    assert len(parallel) == EXTRA_FORMS["dcn_v2_x3"]["layers"] == 3
    assert all(part == {"form": "dcn_v2_low_rank", "layers": 1} for part in parallel)


@pytest.mark.parametrize("name", DATASETS)
def test_a_config_is_the_recipe_without_the_tower(name):
    config = config_of(name)
    assert recipe_path(DATASETS[name].recipe).is_file()
    assert not config.use_tower
    assert config.finetune.newest_days == DATASETS[name].newest_days
