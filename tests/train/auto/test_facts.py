"""Facts of a prepared dataset, of today and of before."""

import json

from pinfm.train.auto.choices import choose
from pinfm.train.auto.facts import Facts
from pinfm.train.auto.rules import RULES
from pinfm.train.data.info import DatasetInfo


def older(folder, **changed):
    """The description of a dataset as a version wrote it that measured no profile."""
    values = json.loads((folder / "dataset.json").read_text())
    del values["profile"]
    return DatasetInfo.from_json(json.dumps(values | changed))


def test_facts_are_those_of_the_dataset(dataset):
    info = DatasetInfo.read(dataset)
    facts = Facts.of(info)
    assert (facts.items, facts.events) == (info.counts.items, info.counts.events_by_split["train"])
    assert facts.events_mean * facts.event_users == facts.events
    assert facts.candidates * facts.requests["train"] == info.counts.impressions["train"]
    assert facts.positives == info.profile.positives
    assert facts.ranks
    assert not facts.lives_hours
    assert facts.longest > facts.events_p99
    assert facts.content_dim == 4
    assert 9 <= facts.span_days <= 10


def test_a_dataset_of_before_has_facts_too(dataset):
    facts = Facts.of(older(dataset))
    assert (facts.unseen, facts.positives, facts.contents) == (None, None, None)
    assert facts.tells_time
    assert facts.event_users == facts.users
    choices = {choice.setting: choice for choice in choose(RULES, facts, {})}
    assert choices["cold_start.dropout_young"].value == 0.7
    assert "older pinfm" in choices["cold_start.dropout_young"].why


def test_a_clock_of_its_own_gives_an_order_of_before_away(dataset):
    begun = {name: [place, place + 1] for place, name in enumerate(("train", "validation", "test"))}
    assert not Facts.of(older(dataset, time_span=[0, 9], splits=begun)).tells_time


def test_segments_are_about_those_of_training(dataset):
    facts = Facts.of(DatasetInfo.read(dataset))
    assert facts.segments(10**6) == facts.event_users
    assert facts.segments(1) >= facts.events
