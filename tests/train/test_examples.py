"""The examples run as they stand."""

import runpy
from pathlib import Path

EXAMPLES = Path(__file__).parents[2] / "examples"


def test_the_tower_trains_inside_another_ranker(pretrained, capsys):
    example = runpy.run_path(str(EXAMPLES / "plug_tower.py"))
    history, candidates = example["two_requests"]()
    tower = example["SequenceTower"].from_run(pretrained)
    before = {name: weight.clone() for name, weight in tower.state_dict().items()}
    example["main"](str(pretrained))
    assert capsys.readouterr().out.count("loss") == 5
    assert tower(history, candidates).shape == (3, tower.encoder.psi.mlp[-1].out_features)
    assert all((weight == before[name]).all() for name, weight in tower.state_dict().items())
