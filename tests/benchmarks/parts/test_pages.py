"""Tables, and sections of a page that are replaced and nothing else."""

import json
from pathlib import Path

import pytest

from benchmarks.parts.pages import report_path, write_results
from pinfm.train.comparison.report.markdown import mean_and_spread, table


def test_spread_is_the_sample_standard_deviation():
    assert mean_and_spread([0.5]) == "0.5000"
    assert mean_and_spread([0.1, 0.3]) == "0.2000 ± 0.1414"


def test_the_file_of_a_section_has_no_spaces_in_its_name():
    assert report_path(Path("docs/performance.md"), "dcat sweep") == Path("docs/performance/dcat_sweep.json")


def test_a_section_is_replaced_and_nothing_else(tmp_path):
    page = tmp_path / "results.md"
    page.write_text("before\n<!-- b -->\nold\n<!-- end of b -->\nafter\n<!-- c -->\nkept\n<!-- end of c -->\n")
    new = table(["x"], [["1"]])
    for _ in range(2):
        write_results(page, "b", new, {"rows": 3})
    expected = f"before\n<!-- b -->\n{new}\n<!-- end of b -->\nafter\n<!-- c -->\nkept\n<!-- end of c -->\n"
    assert page.read_text() == expected
    written = json.loads((tmp_path / "results" / "b.json").read_text())
    assert written["rows"] == 3
    assert written["versions"]["torchrec"] == "1.8.0"
    with pytest.raises(ValueError, match="has no section between <!-- d --> and <!-- end of d -->; add the two lines"):
        write_results(page, "d", new, {})
