"""benchmarks/interactions.py: what it refuses, and what it says of a world whose right answer is known."""

import pytest

from benchmarks import interactions


@pytest.mark.parametrize("flags", [["--dataset", "ml1m_ranking"], ["--dataset", "planted", "--data", "here"]])
def test_data_goes_with_movielens_alone(monkeypatch, capsys, flags):
    monkeypatch.setattr("sys.argv", ["interactions", *flags])
    with pytest.raises(SystemExit):
        interactions.main()
    assert "--data, the folder of ML-1M, goes with --dataset ml1m_ranking and with no other" in capsys.readouterr().err


def test_the_best_possible_is_told_where_it_is_known():
    told = interactions.ceilings_as_text({"triples": {"first_order": 0.62, "second_order": 0.72, "bayes": 0.83}})
    expected = "The best AUC on triples: 0.8300; of a model of second order 0.7200, of first order 0.6200."
    assert told.strip() == expected
    assert interactions.ceilings_as_text({}) == ""
