"""The tables in docs/ are those of the JSON files beside them."""

import json
from pathlib import Path

import pytest

from benchmarks import cold_start, fusion, movielens, precisions, quickstart
from benchmarks.parts.pages import RESULTS, mean_and_spread, report_path
from benchmarks.parts.quality.kept import results_of
from benchmarks.parts.speed.dcat_tables import sweep_tables
from benchmarks.parts.speed.performance import as_table

ROOT = Path(__file__).parents[2]
PERFORMANCE, SCALE = Path("docs/performance.md"), Path("docs/scale.md")


def of_rows(as_tables):
    return lambda report: as_tables(results_of(report["rows"]))


def of_keys(*keys):
    return lambda report: "\n\n".join(as_table(report[key]) for key in keys)


TABLES = {
    (RESULTS, "quickstart"): lambda report: quickstart.as_table(report["seeds"]),
    (RESULTS, "movielens"): of_rows(movielens.as_table),
    (RESULTS, "fusion kuairand"): of_rows(fusion.as_tables),
    (RESULTS, "fusion ml1m_ranking"): of_rows(fusion.as_tables),
    (RESULTS, "cold start simulate"): of_rows(cold_start.as_tables),
    (RESULTS, "cold start arrivals simulate"): of_rows(cold_start.as_tables),
    (RESULTS, "cold start movietweetings"): of_rows(cold_start.as_tables),
    (RESULTS, "cold start arrivals movietweetings"): of_rows(cold_start.as_tables),
    (PERFORMANCE, "dcat"): of_keys("rows"),
    (PERFORMANCE, "dcat sweep"): lambda report: sweep_tables(report["rows"]),
    (PERFORMANCE, "serving"): of_keys("latency", "stages", "operations", "context"),
    (PERFORMANCE, "loader"): of_keys("speed", "memory"),
    (SCALE, "embedding_20b"): of_keys("processes", "lookups"),
    (SCALE, "embedding_scale"): of_keys("rows", "ranks"),
    (SCALE, "export_memory"): of_keys("exports"),
    (SCALE, "precisions"): lambda report: precisions.as_table(report["rows"]),
}


def test_the_readme_tells_the_quickstarts_aucs():
    seeds = json.loads((ROOT / report_path(RESULTS, "quickstart")).read_text())["seeds"].values()
    section = (ROOT / "README.md").read_text().split("## Results\n")[1].split("##")[0]
    lines = [line.replace("*", "").strip("| ").split(" | ") for line in section.splitlines() if line.startswith("| ")]
    tasks = lines[0]
    assert len(tasks) == 4
    for ranker, told in zip(quickstart.RANKERS, lines[1:], strict=True):
        spreads = [mean_and_spread([seed["metrics"][ranker][task]["auc"] for seed in seeds]) for task in tasks]
        assert [spread.removesuffix(" ± 0.0000") for spread in spreads] == told[1:]


@pytest.mark.parametrize(("page", "section"), TABLES, ids=lambda part: str(part))
def test_a_table_is_that_of_its_file(page, section):
    report = json.loads((ROOT / report_path(page, section)).read_text())
    text = (ROOT / page).read_text().split(f"<!-- {section} -->\n")[1].split(f"<!-- end of {section} -->")[0]
    assert text.strip() == TABLES[page, section](report).strip()
