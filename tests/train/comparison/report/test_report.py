"""Rows, marks, page and plot of a comparison whose figures are made up."""

from xml.etree import ElementTree

import pytest

from pinfm.embeddings.errors import UserError
from pinfm.train.comparison.report.page import forms_table, notes, tasks_table
from pinfm.train.comparison.report.plot import HEIGHT, WIDTH, Box, draw
from pinfm.train.comparison.report.rows import Budget, make_rows

# Name -> AUC of two seeds, p50 in ms, peak in MiB.
FORMS = {
    "base": ([0.70, 0.71], 10.0, 500.0),
    "better": ([0.72, 0.74], 15.0, 900.0),
    "slow": ([0.90, 0.91], 50.0, 900.0),
    "large": ([0.90, 0.91], 15.0, 3000.0),
    "beaten": ([0.69, 0.69], 10.0, 500.0),
    "lean": ([0.60, 0.60], 12.0, 100.0),
    "twin": ([0.70, 0.71], 10.0, 500.0),
}


def metrics(auc):
    return {"auc": auc, "ne": 0.9, "hit3": 0.5, "hit3_hard": None, "request_auc": 0.6}


def compared(forms=FORMS):
    return {
        "forms": {
            name: {
                "interaction": name,
                "learning_rate": 0.001,
                "memory_mib": memory,
                "latency": {"p50_ms": p50, "p99_ms": 2 * p50},
                "seeds": {
                    str(seed): {
                        "parameters": {"dense": 12_345, "interaction": 1_234},
                        "candidates_per_s": 100.0 * (seed + 1),
                        # `like` has no positive, and so no AUC.
                        "test": {"click": metrics(auc + 0.02), "save": metrics(auc - 0.02), "like": metrics(None)},
                    }
                    for seed, auc in enumerate(aucs)
                },
            }
            for name, (aucs, p50, memory) in forms.items()
        }
    }


@pytest.fixture
def rows():
    return make_rows(compared(), Budget(memory_gib=2.0, latency_ms=20.0), "base")


def test_a_row_is_the_mean_over_tasks_and_seeds(rows):
    base = rows[0]
    assert base.seeds["auc"] == pytest.approx([0.70, 0.71])
    assert base.auc == pytest.approx(0.705)
    assert base.auc_of_task == {"click": pytest.approx([0.72, 0.73]), "save": pytest.approx([0.68, 0.69])}
    assert base.seeds["hit3_hard"] == []
    assert base.candidates_per_s == 150.0


def test_what_costs_too_much_does_not_fit(rows):
    assert [row.form for row in rows if not row.fits] == ["slow", "large"]


def test_the_pareto_set_is_of_those_that_fit_and_that_none_beats(rows):
    # `slow` and `large` have the best AUC and do not fit; equals do not beat each other.
    assert [row.form for row in rows if row.pareto] == ["base", "better", "lean", "twin"]


def test_differences_are_paired_by_seed(rows):
    assert rows[0].difference is None
    # 0.02 and 0.03: a mean of 0.025, a deviation of 0.00707, and Student's t of 12.706 for one degree of freedom.
    assert rows[1].difference.mean == pytest.approx(0.025)
    assert rows[1].difference.half == pytest.approx(12.706 * 0.00707107 / 2**0.5, rel=1e-4)


def test_a_baseline_that_is_no_form_is_refused():
    with pytest.raises(UserError, match="the baseline nobody is none of the forms; take one of base, better"):
        make_rows(compared(), Budget(), "nobody")


@pytest.mark.parametrize("name", ["memory_gib", "latency_ms"])
def test_a_budget_is_above_zero(name):
    with pytest.raises(UserError, match=rf"{name} \(0\) must be above 0"):
        Budget(**{name: 0})


def test_the_table_has_the_best_first_and_the_losers_too(rows):
    lines = [[cell.strip() for cell in line.strip("|").split("|")] for line in forms_table(rows).splitlines()[2:]]
    assert [line[0] for line in lines] == ["slow", "large", "better", "base", "twin", "beaten", "lean"]
    better = lines[2]
    assert better[1:3] == ["0.7300 ± 0.0141", "+0.0250 ± 0.0635"]
    assert better[5:] == ["", "0.001", "12,345", "1,234", "900", "150", "15.0", "yes", "yes"]
    assert tasks_table(rows).splitlines()[0] == "| form: AUC | click | save |"


def test_the_notes_name_the_pareto_set_and_the_stability(rows):
    told = notes(rows, Budget(), "base")
    assert "5 of 7 forms fit" in told
    assert "at once: base, better, lean, twin." in told
    assert "Kendall's tau 1.00 (mean" in told


def test_the_notes_of_one_seed_tell_no_stability():
    one = {name: (aucs[:1], p50, memory) for name, (aucs, p50, memory) in FORMS.items()}
    assert "Kendall" not in notes(make_rows(compared(one), Budget(), "base"), Budget(), "base")


def test_the_plot_has_a_mark_and_a_readable_label_a_form(rows):
    picture = ElementTree.fromstring(draw(rows, Budget(latency_ms=20.0)))
    svg = "{http://www.w3.org/2000/svg}"
    marks, texts = picture.findall(f"{svg}circle"), [text.text for text in picture.iter(f"{svg}text")]
    assert len(marks) == len(FORMS)
    assert set(FORMS) | {"budget"} <= set(texts)
    for mark in marks:
        assert 0 < float(mark.get("cx")) < WIDTH
        assert 0 < float(mark.get("cy")) < HEIGHT
    # Further left is faster, and further up is better.
    at = dict(zip(FORMS, ((float(m.get("cx")), float(m.get("cy"))) for m in marks), strict=True))
    assert at["base"][0] < at["better"][0] < at["slow"][0]
    assert at["slow"][1] < at["better"][1] < at["lean"][1]
    # What does not fit is hollow.
    assert [m.get("fill") for m in marks].count("white") == 2
    [line] = [line.get("points").split() for line in picture.iter(f"{svg}polyline")]
    assert len(line) == 4


def test_labels_do_not_cover_each_other():
    many = {f"form_number_{i}": ([0.7 + 0.0001 * i], 10.0 + 0.01 * i, 500.0) for i in range(8)}
    picture = ElementTree.fromstring(draw(make_rows(compared(many), Budget(), "form_number_0"), Budget()))
    places = [(float(t.get("x")), float(t.get("y"))) for t in picture if t.text in many]
    boxes = [Box(x, y - 10, x + 6 * len("form_number_0"), y) for x, y in places]
    assert not any(a.overlaps(b) for i, a in enumerate(boxes) for b in boxes[:i])


def test_a_form_that_fails_does_not_press_the_others_together():
    forms = {"base": ([0.70], 10.0, 500.0), "good": ([0.72], 12.0, 500.0), "near": ([0.71], 14.0, 500.0)}
    rows = make_rows(compared({**forms, "failed": ([0.50], 9.0, 500.0)}), Budget(), "base")
    picture = ElementTree.fromstring(draw(rows, Budget()))
    svg = "{http://www.w3.org/2000/svg}"
    heights = [float(mark.get("cy")) for mark in picture.findall(f"{svg}circle")]
    assert len(heights) == len(forms)
    # Of the 370 pixels between the axes' ends.
    assert max(heights) - min(heights) > 100
    assert "failed (0.5000)" in [text.text for text in picture.iter(f"{svg}text")]


def test_one_form_alone_is_drawn():
    alone = {"base": FORMS["base"]}
    assert "base" in draw(make_rows(compared(alone), Budget(), "base"), Budget())
