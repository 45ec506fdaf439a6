"""The tables in docs/, and the figures of the README, are those of the JSON files."""

import json
from functools import partial
from pathlib import Path

import pytest

from benchmarks import (
    cold_start,
    dense_precision,
    earns_its_keep,
    fusion,
    fuxictr,
    interaction_speed,
    interactions,
    live_counts,
    movielens,
    next_item,
    one_encoding,
    precisions,
    pretraining,
    quickstart,
    robustness,
)
from benchmarks.parts.pages import RESULTS, report_path
from benchmarks.parts.quality.interaction_data import DATASETS
from benchmarks.parts.quality.kept import results_of
from benchmarks.parts.robustness.data import DATASETS as ATTACKED
from benchmarks.parts.speed.dcat_tables import sweep_tables
from benchmarks.parts.speed.performance import as_table
from pinfm.train.comparison.report.markdown import mean_and_spread

ROOT = Path(__file__).parents[2]
PERFORMANCE, SCALE = Path("docs/performance.md"), Path("docs/scale.md")


def of_rows(as_tables):
    return lambda report: as_tables(results_of(report["rows"]))


def of_keys(*keys):
    return lambda report: "\n\n".join(as_table(report[key]) for key in keys)


# Datasets that interactions were compared on, and that histories were attacked on.
MEASURED = [name for name in DATASETS if (ROOT / report_path(interactions.PAGE, name)).exists()]
DEFENDED = [name for name in ATTACKED if (ROOT / report_path(robustness.PAGE, name)).exists()]
TABLES = {
    (RESULTS, "quickstart"): lambda report: quickstart.as_table(report["seeds"]),
    (RESULTS, "movielens"): of_rows(movielens.as_table),
    (RESULTS, "next item"): of_rows(next_item.as_table),
    (RESULTS, "fusion kuairand"): of_rows(fusion.as_tables),
    (RESULTS, "fusion ml1m_ranking"): of_rows(fusion.as_tables),
    (RESULTS, "cold start simulate"): of_rows(cold_start.as_tables),
    (RESULTS, "cold start arrivals simulate"): of_rows(cold_start.as_tables),
    (RESULTS, "cold start movietweetings"): of_rows(cold_start.as_tables),
    (RESULTS, "cold start arrivals movietweetings"): of_rows(cold_start.as_tables),
    (RESULTS, earns_its_keep.SECTION): of_rows(earns_its_keep.as_table),
    (RESULTS, "live counts news"): of_rows(live_counts.as_tables),
    (RESULTS, "pretraining simulate"): of_rows(pretraining.as_tables),
    (RESULTS, "pretraining ml1m_ranking"): of_rows(pretraining.as_tables),
    (RESULTS, "one encoding simulate"): of_rows(one_encoding.as_table),
    (RESULTS, "one encoding kuairand"): of_rows(one_encoding.as_table),
    (fuxictr.PAGE, fuxictr.SECTION): fuxictr.as_table,
    (RESULTS, dense_precision.SECTION): lambda report: dense_precision.quality_table(report["runs"]),
    (PERFORMANCE, dense_precision.SECTION): of_keys("files", "layers"),
    (PERFORMANCE, "dcat"): of_keys("rows"),
    (PERFORMANCE, "dcat cuda"): of_keys("rows"),
    (PERFORMANCE, "dcat sweep"): lambda report: sweep_tables(report["rows"]),
    (PERFORMANCE, "serving"): of_keys("latency", "stages", "operations", "context"),
    (PERFORMANCE, "serving rankers"): of_keys("rankers"),
    (PERFORMANCE, "live counts prepare"): of_keys("prepare"),
    (PERFORMANCE, "live counts serving"): of_keys("feeding", "asking", "memory"),
    (PERFORMANCE, "interaction speed cpu"): interaction_speed.tables_of,
    (PERFORMANCE, "interaction speed cuda"): interaction_speed.tables_of,
    (PERFORMANCE, "interaction finetune cpu"): of_keys("steps"),
    (PERFORMANCE, "interaction finetune cuda"): of_keys("steps"),
    (PERFORMANCE, "adaptation latency"): of_keys("latency"),
    (PERFORMANCE, "adaptation speed"): of_keys("rows"),
    (PERFORMANCE, "loader"): of_keys("speed", "memory"),
    (PERFORMANCE, "pretrain speed"): of_keys("settings"),
    (SCALE, "embedding_20b"): of_keys("processes", "lookups"),
    (SCALE, "embedding_scale"): of_keys("rows", "ranks"),
    (SCALE, "export_memory"): of_keys("exports"),
    (SCALE, "precisions"): lambda report: precisions.as_table(report["rows"]),
    **{(interactions.PAGE, name): partial(interactions.section, name) for name in MEASURED},
    **{(robustness.PAGE, name): partial(robustness.section, name) for name in DEFENDED},
}


def measured(section, page=PERFORMANCE):
    return json.loads((ROOT / report_path(page, section)).read_text())


def dcat_ratio(mode, users, candidates):
    """Of DCAT in Python to self-attention, fp32, full lengths, no gate."""
    shape = {"mode": mode, "users": users, "candidates": candidates, "history": 256}
    shape |= {"dtype": "fp32", "lengths": "full", "impl": "grouped"}
    rows = [row for row in measured("dcat")["rows"] if not row.get("attention_gate", False)]
    (row,) = [row for row in rows if shape.items() <= row.items()]
    return row["ratio_to_self_attention"]


def test_the_readme_tells_the_speeds():
    (lookups,) = [row for row in measured("embedding_20b", SCALE)["lookups"] if row["ids"] == "Zipf"]
    (exported,) = [row for row in measured("serving")["latency"] if row["file"] == "exported, fp32"]
    (int8,) = [row for row in measured("dense precision")["files"] if row["file"] == "int8"]
    (compiled,) = [
        row for row in measured("aoti")["speed"] if row["candidates of each"] == 1000 and row["form"] == "compiled"
    ]
    (searched,) = [row for row in measured("retrieval exact")["exact"] if row["items"] == 1_000_000]
    (both,) = measured("retrieval one encoding")["one_encoding"]
    told = [
        f"{dcat_ratio('inference', 1, 1000):.0f} x",
        f"{dcat_ratio('inference', 8, 100):.0f} x",
        f"{dcat_ratio('training', 64, 16):.0f} x",
        f"{exported['p50_ms']:.0f} ms",
        f"{1 / int8['x cpu_ms']:.2f}; {1 / compiled['times as fast as TorchScript']:.2f}",
        f"{searched['p50, ms']:.1f} ms; {both['of two calls']:.2f}",
        f"{lookups['p50, ms']:.1f} ms",
        f"{measured('loader')['speed'][0]['ratio']:.1f} x",
    ]
    section = (ROOT / "README.md").read_text().split("## Speed\n")[1].split("##")[0]
    values = [line.split("|")[2].strip() for line in section.splitlines() if line.startswith("| ")][1:]
    assert values == told


def test_the_readme_tells_the_quickstarts_aucs():
    seeds = measured("quickstart", RESULTS)["seeds"].values()
    section = (ROOT / "README.md").read_text().split("## Results\n")[1].split("##")[0]
    lines = [line.replace("*", "").strip("| ").split(" | ") for line in section.splitlines() if line.startswith("| ")]
    tasks = lines[0]
    assert len(tasks) == 4
    for ranker, told in zip(quickstart.RANKERS, lines[1:], strict=True):
        spreads = [mean_and_spread([seed["metrics"][ranker][task]["auc"] for seed in seeds]) for task in tasks]
        assert [spread.removesuffix(" ± 0.0000") for spread in spreads] == told[1:]


@pytest.mark.parametrize(("page", "section"), TABLES, ids=lambda part: str(part))
def test_a_table_is_that_of_its_file(page, section):
    report = measured(section, page)
    text = (ROOT / page).read_text().split(f"<!-- {section} -->\n")[1].split(f"<!-- end of {section} -->")[0]
    assert text.strip() == TABLES[page, section](report).strip()
