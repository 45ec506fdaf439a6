"""Where a request is made: a feature of the dataset wherever impressions say it, and nowhere else."""

import pytest

from pinfm.embeddings.errors import UserError
from pinfm.model.schema import SURFACE, Feature


def surface_of(dataset):
    """The feature, where there is one."""
    return next((feature for feature in dataset.info.schema.features if feature.name == SURFACE), None)


def codes(dataset):
    """request_id -> the code of its surface."""
    buckets = range(dataset.info.num_buckets)
    rows = [row for split in dataset.info.splits for b in buckets for row in dataset.requests(split, b).to_pylist()]
    return {row["request_id"]: row["surface"] for row in rows}


@pytest.mark.parametrize("kind", ["csv", "parquet"])
def test_the_surface_of_a_request_is_a_feature(logs, kind):
    # Requests 0 to 7 are the training split; what shows up later has no code, as in production.
    shown = [name for name in ["home", "search"] * 4 + ["late", None] for _ in range(2)]
    logs.write(kind, impressions=lambda table: table.assign(surface=shown))
    dataset = logs.prepare(kind)
    assert dataset.info.schema.surfaces == ("home", "search")
    assert surface_of(dataset) == Feature(name="surface", kind="categorical", scope="request", num_values=2)
    assert codes(dataset) == dict(enumerate([1, 2] * 4 + [0, 0]))
    assert not any("surfaces" in note for note in dataset.info.notes)


def test_a_log_whose_impressions_name_no_surface_does_not_ask_for_one(logs):
    logs.write(impressions=lambda table: table.assign(surface=None))
    dataset = logs.prepare()
    assert dataset.info.schema.surfaces == ("home",)  # its events name one
    assert surface_of(dataset) is None
    assert set(codes(dataset).values()) == {0}


def test_a_log_without_a_column_of_surfaces_does_not_ask_for_one(logs):
    logs.write(**dict.fromkeys(("events", "impressions"), lambda table: table.drop(columns="surface")))
    dataset = logs.prepare()
    assert dataset.info.schema.surfaces == ()
    assert surface_of(dataset) is None


def test_a_request_on_several_surfaces_is_made_on_its_first(logs):
    # Request 3 is shown on two; a missing surface in request 5 is no other one.
    def spoil(table):
        table.loc[7, "surface"] = "search"
        table.loc[10, "surface"] = None

    logs.write(impressions=spoil)
    dataset = logs.prepare()
    assert codes(dataset) == {request: int(request != 5) for request in range(10)}
    assert "1 requests name several surfaces: the first candidate's is taken." in dataset.info.notes


def test_nobodys_own_feature_takes_its_name(logs):
    logs.write()
    with pytest.raises(UserError, match="the column surface is named for two purposes, or has a reserved name"):
        logs.source(categorical_features=["surface"], request_features=[])
    with pytest.raises(UserError, match="feature 'surface' is the request's surface, categorical and of request scope"):
        Feature(name="surface", kind="categorical", scope="candidate")
