"""Every dataclass of settings refuses what the types of its fields rule out, however it is built."""

import re
from collections.abc import Iterator
from dataclasses import MISSING, Field, fields, is_dataclass, replace
from importlib import import_module
from pathlib import Path
from types import UnionType
from typing import Any, Literal, Union, get_args, get_origin

import pytest
import runs
from test_imports import FILES, module_name

from pinfm.embeddings.errors import UserError
from pinfm.embeddings.sharded.hardware import Hardware
from pinfm.model.config import RankerConfig
from pinfm.model.layers.mlp import feed_forward
from pinfm.train.comparison.comparison import Comparison
from pinfm.train.config import OptimizerConfig, RunConfig
from pinfm.train.data.info import SPLITS, DatasetInfo
from pinfm.train.data.options import PrepareOptions
from pinfm.train.data.sources.events import Events
from pinfm.train.distributed import choose_device
from pinfm.train.planning.plan import plan

# Of a field that has no default.
SAMPLES = {str: "name", int: 1, float: 1.0, bool: False, Path: Path("path"), list[str]: ["a"], tuple[str, ...]: ("a",)}
# What a field must be given though it has a default, or because of its checks.
NEEDED = {
    Comparison: {"forms": {"dot": "dot"}, "learning_rates": (0.1,), "seeds": (0,), "config": RunConfig()},
    Events: {"actions": ["click"]},
    DatasetInfo: {"time_span": (0, 1), "splits": dict.fromkeys(SPLITS, (0, 1))},
}
# Each of these is wrong for every field of the type.
WRONG = {
    bool: [None, "true", 1],
    int: [None, "3", 2.5, True, float("nan"), float("inf")],
    float: [None, "0.1", True, float("nan"), float("-inf")],
}


def settings() -> list[type[Any]]:
    """The dataclasses of the package that have a Literal among their fields, or checks of their own."""
    found = []
    for name in map(module_name, FILES):
        for value in vars(import_module(name)).values():
            if isinstance(value, type) and is_dataclass(value) and value.__module__ == name:
                named = any(get_origin(field.type) is Literal for field in fields(value))
                if named or hasattr(value, "__post_init__"):
                    found.append(value)
    return found


def built(kind: type[Any], values: dict[str, Any]) -> Any:
    """One of them with these values, the rest by default."""
    needed = [f for f in fields(kind) if f.default is MISSING and f.default_factory is MISSING]
    return kind(**{field.name: sample(field) for field in needed} | NEEDED.get(kind, {}) | values)


def sample(field: Field[Any]) -> Any:
    if get_origin(field.type) is Literal:
        return get_args(field.type)[0]
    return SAMPLES.get(field.type, ())


def wrong_values() -> Iterator[tuple[type[Any], str, Any]]:
    for kind in settings():
        for field in fields(kind):
            kinds = get_args(field.type) if get_origin(field.type) in (Union, UnionType) else (field.type,)
            of = [each for each in kinds if each is not type(None)]
            if len(of) == 1:
                wrong = ["typo", None, 0] if get_origin(of[0]) is Literal else WRONG.get(of[0], [])
                yield from ((kind, field.name, value) for value in wrong if value is not None or len(kinds) == 1)


def test_they_are_seen():
    found = {kind.__name__ for kind in settings()}
    assert {"RankerConfig", "RunConfig", "ItemTableConfig", "ExportOptions", "PrepareOptions", "Hardware"} <= found
    assert {type(value).__name__ for value in vars(runs.CONFIG).values() if is_dataclass(value)} <= found
    assert not [field for kind in settings() for field in fields(kind) if isinstance(field.type, str)]


def test_the_defaults_are_in_order():
    for kind in settings():
        assert is_dataclass(built(kind, {}))


def test_what_no_type_allows_is_refused():
    checked = set()
    for kind, name, value in wrong_values():
        with pytest.raises(UserError, match=rf"\b{name} \({re.escape(repr(value))}\) must be "):
            built(kind, {name: value})
        checked.add((kind.__name__, name))
    assert ("TowerConfig", "mlp") in checked
    assert len(checked) > 90


def test_the_sentence_names_the_choices():
    with pytest.raises(UserError, match=r"^ranker\.interaction \('typo'\) must be one of input, dot, .*dcn_v2"):
        RankerConfig(interaction="typo")
    with pytest.raises(UserError, match=r"^device \('gpu'\) must be one of auto, cpu, cuda\.$"):
        RunConfig(device="gpu")
    with pytest.raises(UserError, match=r"^optimizer\.dense_lr \(inf\) must be a finite number\.$"):
        OptimizerConfig(dense_lr=float("inf"))


def test_a_bound_may_be_infinite():
    assert OptimizerConfig(gradient_clip_norm=float("inf")).gradient_clip_norm == float("inf")
    with pytest.raises(UserError, match=r"^optimizer\.gradient_clip_norm \(nan\) must be a finite number\.$"):
        OptimizerConfig(gradient_clip_norm=float("nan"))


def test_a_changed_copy_is_checked_too():
    with pytest.raises(UserError, match=r"^tower\.mlp \('relu'\) must be one of gelu, swiglu\.$"):
        replace(runs.CONFIG.tower, mlp="relu")


def test_a_name_given_to_a_part_is_checked_where_it_is_read():
    for take, name in [
        (lambda: choose_device("gpu"), "device"),
        (lambda: feed_forward("relu", 4), "mlp"),
        (lambda: plan(runs.CONFIG, Hardware(), "serve", None), "phase"),
    ]:
        with pytest.raises(UserError, match=rf"^{name} \('\w+'\) must be one of "):
            take()


def test_an_optional_number_may_be_missing():
    assert PrepareOptions(num_buckets=None).num_buckets is None
    with pytest.raises(UserError, match=r"^num_buckets \(nan\) must be a whole number\.$"):
        PrepareOptions(num_buckets=float("nan"))
