"""What TorchX is asked to start."""

import inspect

import pytest
from torchx.components import component_test_base
from torchx.specs.file_linter import get_fn_docstring
from torchx.specs.finder import get_components

from pinfm.torchx_specs import components

VERBS = ["pretrain", "finetune"]


@pytest.mark.parametrize("verb", VERBS)
def test_the_verb_is_started_in_every_process(verb):
    app = getattr(components, verb)("--config", "kuairand", "--data", "d", j="2x4", cpu=3, memMB=100, max_retries=2)
    (role,) = app.roles
    assert app.name == f"pinfm-{verb}"
    assert role.num_replicas == 2
    assert role.max_retries == 2
    assert (role.resource.cpu, role.resource.memMB) == (3, 100)
    command = " ".join([role.entrypoint, *role.args])
    assert command.startswith(
        "bash -c exec python -m pinfm.train.launch.supervisor --max-restarts 2 -- --rdzv_backend "
    )
    assert "--nproc_per_node 4" in command
    # The scheduler puts its name of the application there, the same at each of its own restarts.
    assert command.endswith(f"-m pinfm.train.cli.main {verb} --job '${{app_id}}' --config kuairand --data d")
    # Schedulers call jobs so; two of one name would be mistaken for each other.
    assert role.name == verb


@pytest.mark.parametrize("verb", VERBS)
@pytest.mark.parametrize("j", ["two", "1x2x3x4", "1x"])
def test_a_number_of_processes_that_is_none_is_refused(verb, j):
    with pytest.raises(ValueError, match=r".+"):
        getattr(components, verb)("--out", "o", j=j)


@pytest.mark.parametrize("verb", VERBS)
def test_fewer_than_no_restarts_are_refused(verb):
    with pytest.raises(ValueError, match=r"max_retries \(-1\) must be at least 0\."):
        getattr(components, verb)("--out", "o", max_retries=-1)


@pytest.mark.parametrize("verb", VERBS)
def test_torchx_accepts_the_component(verb):
    case = component_test_base.ComponentTestCase()
    case.setUp()
    case.validate(components, verb)


def test_torchx_finds_them_under_our_name():
    assert {f"pinfm.{verb}" for verb in VERBS} <= set(get_components())


def test_both_verbs_take_the_same_flags():
    names = [list(inspect.signature(getattr(components, verb)).parameters) for verb in VERBS]
    assert names[0] == names[1] == ["verb_args", "j", "image", "h", "cpu", "gpu", "memMB", "max_retries"]


@pytest.mark.parametrize("verb", VERBS)
def test_the_help_describes_every_flag(verb):
    summary, described = get_fn_docstring(getattr(components, verb))
    assert summary.startswith({"pretrain": "Self-supervised", "finetune": "Joint training"}[verb])
    assert all(len(text) > 10 for text in described.values())
    assert "verb" not in inspect.signature(getattr(components, verb)).parameters
