"""Each rule on facts made by hand: what it chooses, and where it begins to choose something else."""

from dataclasses import fields, is_dataclass, replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pinfm.train.auto.choices import choose, settings_of
from pinfm.train.auto.facts import Facts
from pinfm.train.auto.rules import RULES
from pinfm.train.config import RunConfig

DAY = 86_400
# A shop's log of events: few of them a user, an order and no times.
SHOP = Facts(
    items=12_000,
    users=20_000,
    all_events=170_000,
    events=130_000,
    validation_events=20_000,
    event_users=20_000,
    events_p99=38.0,
    tells_time=False,
    unseen=0.0,
)
# Films, rated by the hundred.
FILMS = replace(
    SHOP,
    items=3_400,
    users=6_000,
    all_events=1_000_000,
    events=980_000,
    event_users=6_000,
    events_p99=800.0,
    tells_time=True,
)
# Slates of ten, items that arrive, each with a content vector of its own.
FEED = Facts(
    items=5_000,
    users=10_000,
    all_events=1_000_000,
    events=800_000,
    event_users=10_000,
    events_p99=400.0,
    span_days=30.0,
    requests={"train": 240_000, "validation": 30_000, "test": 30_000},
    candidates=10.0,
    positives={"click": 100_000},
    unseen=0.1,
    content_dim=32,
    contents=5_000,
)
# A day of news, with live counts.
NEWS = replace(
    FEED, requests={"train": 2_600, "validation": 2_600}, item_ages=(3_600, 4 * 3_600), counters=18, content_dim=0
)


def chosen(facts, **given):
    """Setting -> value."""
    said = {name.replace("__", "."): value for name, value in given.items()}
    return {choice.setting: choice.value for choice in choose(RULES, facts, said)}


def told(facts, setting):
    """The reason of a choice."""
    return next(choice.why for choice in choose(RULES, facts, {}) if choice.setting == setting)


def configured(facts, given):
    """The run's settings, which check themselves."""
    return built(RunConfig(), {choice.setting: choice.value for choice in choose(RULES, facts, given)})


def built(part, settings, prefix=""):
    """A part of a config with other settings; all at once, since one alone may contradict the rest."""
    values = {}
    for field in fields(part):
        name, value = prefix + field.name, getattr(part, field.name)
        values[field.name] = built(value, settings, f"{name}.") if is_dataclass(value) else settings.get(name, value)
    return type(part)(**values)


def test_streams_are_no_more_than_buckets():
    streams = [chosen(replace(FEED, buckets=buckets)).get("data_streams") for buckets in (1, 3, 6, 8, 16)]
    assert streams == [1, 2, 4, None, None]


def test_histories_are_as_long_as_nearly_all_of_the_log():
    assert chosen(SHOP)["max_history"] == 56  # 38 x 170,000 / 130,000, in eights
    assert chosen(replace(SHOP, events_p99=3.0))["max_history"] == 16
    assert chosen(FILMS)["max_history"] == 200
    assert chosen(FEED)["max_history"] == 64
    assert chosen(FEED, max_history=30)["pretrain.segment_length"] == 30
    assert chosen(FEED, pretrain__segment_length=20)["pretrain.future_anchor_length"] == 10
    assert "50 events" in told(SHOP, "max_history")


def test_the_tower_grows_with_what_there_is_to_learn_from():
    assert [chosen(facts)["tower.num_layers"] for facts in (SHOP, FILMS, FEED)] == [2, 3, 1]
    assert [chosen(facts)["tower.mlp"] for facts in (SHOP, FILMS, FEED)] == ["swiglu", "swiglu", "gelu"]
    assert [chosen(facts)["tower.dim"] for facts in (SHOP, FILMS, FEED)] == [64, 128, 64]
    assert chosen(replace(FILMS, events=100_000, event_users=1_000))["tower.dim"] == 64
    assert chosen(SHOP, tower__dim=96)["tower.out_dim"] == 96
    assert [chosen(SHOP, tower__dim=dim)["tower.num_heads"] for dim in (32, 64, 96, 256)] == [1, 2, 2, 8]
    assert [chosen(facts)["tower.dropout"] for facts in (SHOP, FILMS, FEED)] == [0.5, 0.3, 0.0]
    assert "6.5 a user" in told(SHOP, "tower.num_layers")


def test_times_that_say_nothing_are_not_read():
    assert [chosen(facts)["tower.time"] for facts in (SHOP, FILMS, FEED)] == ["none", "gap", "gap"]
    assert [chosen(facts)["tower.request_time"] for facts in (SHOP, FILMS, FEED)] == [False, True, False]
    assert told(SHOP, "tower.time") == "the log has an order and no times"


def test_rows_go_by_the_catalogue():
    tables = [chosen(replace(FEED, items=items)) for items in (3_000, 50_500, 5_000_000, 100_000_000)]
    assert [table["item_table.rows"] for table in tables] == [8_000, 51_000, 5_000_000, 25_000_000]
    assert [table["item_table.num_hashes"] for table in tables] == [4, 4, 8, 8]


def test_short_histories_of_a_small_catalogue_have_a_row_an_item_and_one_space():
    sparse, dense = chosen(SHOP), chosen(FILMS)
    table = ("item_table.ids", "item_table.num_hashes", "item_table.dim", "item_table.rows", "tower.heads")
    assert [sparse[name] for name in table] == ["managed", 1, 64, SHOP.items + 1, "tied"]
    assert [dense[name] for name in table[1:4]] == [4, 32, 20_000]
    assert "tower.heads" not in dense
    assert sparse["managed_ids.min_count"] == 0
    large = chosen(replace(SHOP, items=2_000_000))
    assert [large[name] for name in table[1:4]] == [8, 16, 2_000_000]
    assert "tower.heads" not in large


@pytest.mark.parametrize("mine", [{"tower__out_dim": 32}, {"item_table__dim": 32}, {"item_table__num_hashes": 2}])
def test_two_spaces_stay_two_where_the_user_gives_them_two_widths(mine):
    assert chosen(SHOP, **mine)["tower.heads"] == "normalized_mlp"


def test_negatives_are_the_catalogue_where_it_is_small():
    sizes = [chosen(replace(SHOP, items=items)) for items in (5_000, 5_001)]
    assert [of["pretrain.negatives"] for of in sizes] == ["catalogue", "sampled"]
    assert not any(of["pretrain.log_q"] for of in sizes)
    assert chosen(SHOP, pretrain__negatives="in_batch")["pretrain.log_q"]
    assert chosen(FEED)["pretrain.negatives"] == "in_batch"


def test_losses_are_weighed_by_their_pairs():
    weights = ("next_token_weight", "multi_token_weight", "future_token_weight")
    assert [chosen(SHOP)[f"pretrain.{name}"] for name in weights] == [1.0, 0.0, 0.0]
    assert [chosen(FEED)[f"pretrain.{name}"] for name in weights] == [1.0, 1.0, 1.0]
    assert chosen(FEED)["pretrain.loss_weights"] == "by_pairs"
    by_means = {"pretrain__loss_weights": "by_means", "pretrain__window": 16}
    assert chosen(FEED, **by_means)["pretrain.future_token_weight"] == 0.25


def test_next_actions_are_learnt_for_candidates_that_meet_the_history():
    assert chosen(FEED)["pretrain.next_action_weight"] == 1.0
    late = chosen(FEED, tower__fusion="lite_mean")
    assert (late["pretrain.next_action_weight"], late["pretrain.unmet_items"]) == (0.0, 0)
    assert "pretrain.next_action_weight" not in chosen(SHOP)


def test_unmet_items_are_offered_where_events_do_not_tell_what_was_passed_over():
    assert chosen(FEED)["pretrain.unmet_items"] == 2  # 2,400,000 items shown
    assert chosen(replace(FEED, candidates=3.0))["pretrain.unmet_items"] == 0


def test_few_labels_take_the_tower_path_and_are_told_that_pretraining_pays():
    few = replace(FEED, requests={"train": 9_999}, unseen=0.0)
    assert chosen(few)["ranker.tower_path"] is True
    assert "pretraining pays" in told(few, "ranker.tower_path")
    assert chosen(FEED)["ranker.tower_path"] is False
    assert "pretraining did not pay" in told(FEED, "ranker.tower_path")
    assert chosen(NEWS)["ranker.tower_path"] is False
    arriving = replace(few, unseen=0.02)
    assert chosen(arriving)["ranker.tower_path"] is False
    assert "of new items" in told(arriving, "ranker.tower_path")


def test_pretraining_has_steps_enough_and_a_short_warm_up():
    assert [chosen(facts)["pretrain.batch_size"] for facts in (SHOP, FILMS, FEED)] == [128, 32, 64]
    few = chosen(replace(FEED, events=8_000, event_users=100))
    assert (few["pretrain.batch_size"], few["pretrain.epochs"]) == (32, 10)
    assert few["pretrain.optimizer.warmup_steps"] == 3
    assert chosen(FEED)["pretrain.epochs"] == 2
    assert chosen(SHOP)["pretrain.validation.per_epoch"] == 0.5
    assert "pretrain.validation.per_epoch" not in chosen(FEED)
    unjudged = replace(SHOP, validation_events=99)
    assert "pretrain.validation.per_epoch" not in chosen(unjudged)
    assert told(unjudged, "pretrain.epochs").endswith("validation has too few events to end it")
    assert chosen(FEED, data_streams=48)["pretrain.batch_size"] == 96


TECHNIQUES = ("candidate_id_randomization", "dropout_young", "dropout_middle", "content_fusion", "learnable_token")


def test_cold_start_techniques_are_on_where_items_are_new():
    def techniques(facts, **given):
        return [chosen(facts, **given)[f"cold_start.{name}"] for name in TECHNIQUES]

    assert techniques(FEED) == [0.1, 0.7, 0.5, True, True]
    assert techniques(replace(FEED, unseen=0.009)) == [0.0, 0.0, 0.0, False, False]
    assert techniques(replace(FEED, unseen=None)) == [0.1, 0.7, 0.5, True, True]
    assert techniques(replace(FEED, tells_time=False)) == [0.1, 0.0, 0.0, True, True]
    assert techniques(replace(FEED, content_dim=0)) == [0.1, 0.7, 0.5, False, False]
    assert techniques(replace(FEED, contents=400)) == [0.1, 0.7, 0.5, False, False]
    assert techniques(NEWS) == techniques(replace(FEED, counters=18)) == [0.1, 0.0, 0.0, False, False]
    assert told(NEWS, "cold_start.dropout_young").startswith("off: live counters tell")
    assert techniques(FEED, tower__fusion="lite_mean") == [0.1, 0.7, 0.5, False, False]
    assert "cold_start.dropout_young" not in chosen(SHOP)
    assert told(replace(FEED, unseen=0.0), "cold_start.content_fusion").startswith("off: 0.0% of what validation")
    assert told(replace(FEED, contents=400), "cold_start.content_fusion").startswith("off: 400 different vectors")
    assert "0.9%" in told(replace(FEED, unseen=0.009), "cold_start.dropout_young")


def test_small_batches_hold_many_users():
    # A log of 240,000 requests has large batches, and one of which a hundredth is read small ones.
    assert [chosen(FEED)[f"finetune.{name}"] for name in ("batch_size", "requests_per_user")] == [128, 8]
    few = chosen(FEED, finetune__request_share=0.01)
    assert [few[f"finetune.{name}"] for name in ("batch_size", "requests_per_user", "epochs")] == [32, 1, 4]


def test_the_ranker_counts_histories():
    assert chosen(FEED)["ranker.history_counts"] is True
    assert "ranker.history_counts" not in chosen(SHOP)


def test_fine_tuning_has_steps_enough():
    assert (chosen(FEED)["finetune.batch_size"], chosen(FEED)["finetune.epochs"]) == (128, 1)
    assert chosen(replace(FEED, candidates=1.2))["finetune.batch_size"] == 256
    few = chosen(NEWS)
    assert (few["finetune.batch_size"], few["finetune.epochs"], few["finetune.optimizer.warmup_steps"]) == (32, 4, 16)
    assert (few["finetune.validation.per_epoch"], few["finetune.validation.patience"]) == (1.0, 2)
    for unjudged in ({"requests": {"train": 2_600, "validation": 499}}, {"positives": {"click": 19}}):
        assert "finetune.validation.per_epoch" not in chosen(replace(NEWS, **unjudged))
    assert "finetune.validation.per_epoch" in chosen(replace(NEWS, positives=None))
    assert "finetune.validation.per_epoch" not in chosen(FEED)


def test_tables_learn_slowly_where_items_live_hours_and_counters_tell():
    def rates(facts):
        return [chosen(facts)[f"finetune.optimizer.{name}"] for name in ("dense_lr", "table_lr")]

    assert rates(NEWS) == [0.003, 0.01]
    assert rates(replace(NEWS, counters=0)) == rates(replace(NEWS, item_ages=(7 * DAY, 28 * DAY))) == [0.001, 0.2]


def test_what_the_user_says_counts_and_rules_follow_it():
    choices = {choice.setting: choice for choice in choose(RULES, SHOP, {"tower.dim": 32, "seed": 3})}
    assert (choices["tower.dim"].value, choices["tower.dim"].yours) == (32, True)
    assert choices["tower.dim"].why.startswith("auto would take 64: 130,000 training events")
    assert (choices["item_table.dim"].value, choices["item_table.dim"].yours) == (32, False)
    assert (choices["seed"].value, choices["seed"].why) == (3, "no rule speaks of it")


def test_the_first_rule_that_speaks_of_a_setting_settles_it():
    def first(facts, settings):
        yield "tower.dim", 32, "first"

    choices = {choice.setting: choice for choice in choose((first, *RULES), SHOP, {})}
    assert choices["tower.dim"].why == "first"
    assert choices["tower.out_dim"].value == 32


def test_every_setting_of_a_rule_is_one_and_has_a_reason():
    for facts in (SHOP, FILMS, FEED, NEWS):
        for choice in choose(RULES, facts, {}):
            assert choice.setting in settings_of(RunConfig())
            assert len(choice.why) > 5
            assert "\n" not in choice.why


FACTS = st.builds(
    Facts,
    items=st.integers(1, 10**9),
    users=st.integers(1, 10**9),
    all_events=st.integers(1, 10**11),
    events=st.integers(0, 10**11),
    validation_events=st.integers(0, 10**9),
    event_users=st.integers(0, 10**9),
    events_p99=st.floats(0, 1e6),
    tells_time=st.booleans(),
    span_days=st.floats(0, 1e4),
    requests=st.sampled_from([{}, {"train": 0}])
    | st.fixed_dictionaries({"train": st.integers(1, 10**10), "validation": st.integers(0, 10**6)}),
    candidates=st.floats(0, 1e4),
    positives=st.none() | st.dictionaries(st.sampled_from(["click", "save"]), st.integers(0, 10**9)),
    unseen=st.none() | st.floats(0, 1),
    item_ages=st.sampled_from([(900, 3_600), (7 * DAY, 28 * DAY)]),
    content_dim=st.sampled_from([0, 32]),
    contents=st.none() | st.integers(0, 10**9),
    counters=st.sampled_from([0, 24]),
    buckets=st.integers(1, 100),
)
GIVEN = st.fixed_dictionaries(
    {},
    optional={
        "max_history": st.integers(1, 500),
        "tower.dim": st.sampled_from([16, 32, 96, 256]),
        "tower.fusion": st.sampled_from(["early", "lite_mean", "lite_last"]),
        "pretrain.negatives": st.sampled_from(["in_batch", "sampled", "catalogue"]),
        "pretrain.window": st.integers(1, 64),
        "data_streams": st.sampled_from([1, 4, 8, 48, 64]),
    },
)


@given(facts=FACTS, said=GIVEN)
def test_every_choice_is_a_config(facts, said):
    config = configured(facts, said)
    settings = settings_of(config)
    assert said.items() <= settings.items()
    assert settings == settings_of(configured(facts, said))


@pytest.mark.parametrize("facts", [SHOP, FILMS, FEED, NEWS])
def test_equal_facts_get_equal_settings(facts):
    assert choose(RULES, facts, {}) == choose(RULES, replace(facts), {})
