"""`ranker.interaction` of a recipe: what is built from it, and what is refused."""

import pytest
from interaction_fakes import SHAPE, built

from pinfm.embeddings.errors import UserError
from pinfm.model.config import RankerConfig
from pinfm.model.ranking.interactions.build import out_shape_of
from pinfm.model.ranking.interactions.settings import Beside, FormPlan, Stack, interaction_plan

CROSS = FormPlan("dcn_v2_low_rank", {"layers": 2, "rank": 64})


def nested(form, depth):
    """A form within so many compositions."""
    return form if depth == 0 else {"stacked": [nested(form, depth - 1)]}


def test_a_name_is_a_form_with_the_settings_of_the_table():
    assert interaction_plan("dcn_v2_low_rank") == CROSS
    assert interaction_plan({"form": "dcn_v2_low_rank"}) == CROSS
    assert interaction_plan({"form": "dcn_v2_low_rank", "rank": 3}).settings == {"layers": 2, "rank": 3}
    assert interaction_plan({"form": "dcn_v2"}) == interaction_plan("dcn_v2")


def test_forms_stand_after_and_beside_each_other_to_any_depth():
    value = {"stacked": [{"parallel": ["input", "dcn_v2_low_rank"]}, "dcn_v2_low_rank"]}
    assert interaction_plan(value) == Stack((Beside((FormPlan("input", {}), CROSS)), CROSS))
    assert interaction_plan("dcn_v2") == Beside((FormPlan("input", {}), CROSS))
    assert out_shape_of(built(nested("dcn_v2_low_rank", 16))) == (0, 5, 4)


def test_vectors_beside_each_other_stay_vectors_where_they_are_of_one_width():
    assert out_shape_of(built({"parallel": ["input", "dcn_v2_low_rank"]})) == (3, 2 + 5, 4)
    dot = out_shape_of(built("dot"))
    assert out_shape_of(built({"parallel": ["input", "dot"]})) == (12 + dot.request, 8 + dot.candidate, 1)


def test_what_reads_vectors_may_follow_what_gives_them_and_nothing_else():
    assert out_shape_of(built({"stacked": ["dcn_v2_low_rank", "dot"]})) == (0, 5 * 4 + 10, 1)
    with pytest.raises(UserError, match=r"dot reads feature vectors, but what stands before it gives single numbers"):
        built({"stacked": ["dot", "dot"]})


@pytest.mark.parametrize(
    ("value", "sentence"),
    [
        ("typo", r"^ranker\.interaction \('typo'\) must be one of input, dot, .*dcn_v2, pinterest_baseline.*\.$"),
        (3, r"^ranker\.interaction \(3\) must be one of .*, or {form: NAME, SETTING: VALUE}, {stacked: \[\.\.\.\]} or"),
        (None, r"^ranker\.interaction \(None\) must be one of "),
        ({}, r"^ranker\.interaction \({}\) must be one of "),
        ({"stacked": ["dot"], "parallel": ["dot"]}, r"^ranker\.interaction \(.*\) must be one of "),
        ({"form": "typo"}, r"^ranker\.interaction \('typo'\) must be one of input, dot"),
        ({"form": ["dot"]}, r"^ranker\.interaction \(\['dot'\]\) must be one of input, dot"),
        ({"form": "dcn_v2", "layers": 3}, r"\('dcn_v2', which is put together of {.*}\) must be one of input, dot"),
        ({"form": "dot", "layers": 3}, r"^ranker\.interaction: dot does not read 'layers'; it has no settings\.$"),
        ({"form": "dcn_v2_low_rank", "heads": 2}, r"does not read 'heads'; it reads layers, rank\.$"),
        ({"form": "dcn_v2_low_rank", "rank": 0}, r"^ranker\.interaction\.rank \(0\) must be at least 1\.$"),
        (
            {"form": "dcn_v2_low_rank", "rank": 1 << 20},
            r"^ranker\.interaction\.rank \(1048576\) must be at most 65536\.$",
        ),
        ({"form": "gdcn", "layers": 257}, r"^ranker\.interaction\.layers \(257\) must be at most 256\.$"),
        ({"form": "mask_net_serial", "blocks": 257}, r"^ranker\.interaction\.blocks \(257\) must be at most 256\.$"),
        (nested("gdcn", 17), r"^ranker\.interaction is nested more than 16 deep; stack the forms in one list\.$"),
        ({"form": "dcn_v2_low_rank", "rank": 2.5}, r"^ranker\.interaction\.rank \(2\.5\) must be a whole number\.$"),
        ({"form": "dcn_v2_low_rank", "rank": True}, r"^ranker\.interaction\.rank \(True\) must be a whole number\.$"),
        (
            {"stacked": []},
            r"^ranker\.interaction\.stacked \(\[\]\) must be a list of at least one form, such as \[dot\]",
        ),
        ({"parallel": "dot"}, r"^ranker\.interaction\.parallel \('dot'\) must be a list of at least one form"),
        ({"parallel": ["input", "typo"]}, r"^ranker\.interaction\.parallel\[1\] \('typo'\) must be one of"),
    ],
)
def test_what_is_wrong_is_told(value, sentence):
    with pytest.raises(UserError, match=sentence):
        RankerConfig(interaction=value)


def test_what_is_built_is_of_the_shape_of_its_input():
    assert out_shape_of(built("input")) == SHAPE
