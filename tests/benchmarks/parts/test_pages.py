"""Tables, and sections of a page that are replaced and nothing else."""

import json

import pytest

from benchmarks.parts.pages import mean_and_spread, table, write_results


def test_spread_is_the_sample_standard_deviation():
    assert mean_and_spread([0.5]) == "0.5000"
    assert mean_and_spread([0.1, 0.3]) == "0.2000 ± 0.1414"


def test_a_section_is_replaced_and_nothing_else(tmp_path):
    page = tmp_path / "results.md"
    page.write_text("before\n<!-- b -->\nold\n<!-- end of b -->\nafter\n<!-- c -->\nkept\n<!-- end of c -->\n")
    new = table(["x"], [["1"]])
    for _ in range(2):
        write_results(tmp_path / "deep" / "b.json", page, "b", new, {"rows": 3})
    expected = f"before\n<!-- b -->\n{new}\n<!-- end of b -->\nafter\n<!-- c -->\nkept\n<!-- end of c -->\n"
    assert page.read_text() == expected
    written = json.loads((tmp_path / "deep" / "b.json").read_text())
    assert written["rows"] == 3
    assert written["versions"]["torchrec"] == "1.8.0"
    with pytest.raises(ValueError, match="has no section between <!-- d --> and <!-- end of d -->; add the two lines"):
        write_results(tmp_path / "d.json", page, "d", new, {})
