"""The README's speeds are those of the benchmarks' files."""

import json
from pathlib import Path

ROOT = Path(__file__).parents[2]


def measured(name, page="performance"):
    return json.loads((ROOT / "docs" / page / f"{name}.json").read_text())


def dcat_ratio(mode, users, candidates):
    """Of DCAT in Python to self-attention, fp32, full lengths, no gate."""
    shape = {"mode": mode, "users": users, "candidates": candidates, "history": 256}
    shape |= {"dtype": "fp32", "lengths": "full", "impl": "grouped"}
    rows = [row for row in measured("dcat")["rows"] if not row.get("attention_gate", False)]
    (row,) = [row for row in rows if shape.items() <= row.items()]
    return row["ratio_to_self_attention"]


def test_the_readme_tells_what_was_measured():
    (lookups,) = [row for row in measured("embedding_20b", "scale")["lookups"] if row["ids"] == "Zipf"]
    (exported,) = [row for row in measured("serving")["latency"] if row["file"] == "exported, fp32"]
    told = [
        f"{dcat_ratio('inference', 1, 1000):.0f} x",
        f"{dcat_ratio('inference', 8, 100):.0f} x",
        f"{dcat_ratio('training', 64, 16):.0f} x",
        f"{exported['p50_ms']:.0f} ms",
        f"{lookups['p50, ms']:.1f} ms",
        f"{measured('loader')['speed'][0]['ratio']:.1f} x",
    ]
    section = (ROOT / "README.md").read_text().split("## Speed\n")[1].split("##")[0]
    values = [line.split("|")[2].strip() for line in section.splitlines() if line.startswith("| ")][1:]
    assert values == told
