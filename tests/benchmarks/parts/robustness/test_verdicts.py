"""Claims from figures whose verdict is known."""

import pytest

from benchmarks.parts.robustness import rows
from benchmarks.parts.robustness.claims import best_single, claims_table, verdicts


def figures(seed, detected=0.95, clean=0.0005):
    """Attacks cost 0.1 of 0.8; each row has its own share of it back."""
    back = {"none": 0.0, "next_token": 0.02, "multi_token": 0.01, "all": 0.04, "trust": 0.035, "adversarial": 0.02}
    found = {}
    for name, gained in back.items():
        loss = 0.7 + gained + 0.001 * seed
        found[name] = {
            "clean": {"auc": 0.8 + (clean if name == "trust" else 0.0)},
            rows.PGD.name: {"auc": loss + (0.0005 * seed if name == "all" else 0.0)},
            rows.SUBSTITUTION.name: {"auc": 0.7 + gained},
            rows.HOT_FLIP.name: {"auc": 0.6 + gained},
        }
    found["trust"][rows.INJECTION.name] = {"detection_own": detected}
    return found


def told(seeds, known=True):
    return {verdict.told: verdict for verdict in verdicts(seeds, known)}


def test_what_is_met_is_told():
    found = told({str(seed): figures(seed) for seed in range(3)})
    back = found["trust weights: at least 30% of the 0.1000 AUC lost to substitution 32 won back"]
    assert back.found.mean == pytest.approx(0.35)
    assert back.met
    assert not found["adversarially trained: at least 30% of the 0.1000 AUC lost to substitution 32 won back"].met
    # 0.035 of 0.2.
    assert not found["trust weights: at least 30% of the 0.2000 AUC lost to hot_flip 8 won back"].met
    assert found["trust weights: clean AUC within 0.001 of none"].met
    assert found["injected events are told from real ones, AUC above 0.9"].met
    assert found["under pgd 0.5: all five losses over the best single one (next_token)"].met
    assert found["under pgd 0.5: that one over none"].met


def test_what_is_not_met_is_told():
    seeds = {str(seed): figures(seed, detected=0.85, clean=-0.003) for seed in range(3)}
    for of in seeds.values():
        of["all"][rows.PGD.name]["auc"] = of["next_token"][rows.PGD.name]["auc"] - 0.01
    found = told(seeds)
    assert not found["trust weights: clean AUC within 0.001 of none"].met
    assert not found["injected events are told from real ones, AUC above 0.9"].met
    assert not found["under pgd 0.5: all five losses over the best single one (next_token)"].met
    lines = claims_table(seeds, where_injected_is_known=True).splitlines()
    assert "| trust weights: clean AUC within 0.001 of none | -0.0030 ± 0.0000 | not met |" in lines


def test_detection_is_claimed_where_the_truth_is_known():
    assert not any("told from real" in claim for claim in told({"0": figures(0)}, known=False))


def test_the_best_single_loss_is_that_with_most_auc_under_pgd():
    assert best_single({"0": figures(0), "1": figures(1)}) == "next_token"


def test_one_seed_shows_no_order():
    assert not told({"0": figures(0)})["under pgd 0.5: that one over none"].met
