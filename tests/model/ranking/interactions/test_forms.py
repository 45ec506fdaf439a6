"""What holds of every form in the table, and of every named composition."""

import inspect
from importlib import import_module
from pathlib import Path
from typing import get_args

import pytest
import torch
from interaction_fakes import BATCHES, SHAPE, built, numbers, random_fields

from pinfm.model.ranking.interactions.build import build_interaction, out_shape_of
from pinfm.model.ranking.interactions.parts.fields import per_candidate
from pinfm.model.ranking.interactions.table import COMPOSITIONS, FORMS, InteractionName

NAMES = get_args(InteractionName)
every_form = pytest.mark.parametrize("name", NAMES)


def test_the_names_are_those_of_the_tables():
    assert (*FORMS, *COMPOSITIONS) == NAMES
    assert not FORMS.keys() & COMPOSITIONS.keys()


@pytest.mark.parametrize("name", FORMS)
def test_a_form_reads_the_settings_of_its_line_and_no_others(name):
    file, class_name = FORMS[name].path.split(".")
    form = getattr(import_module(f"pinfm.model.ranking.interactions.forms.{file}"), class_name)
    shape, *settings = inspect.signature(form).parameters.values()
    assert shape.name == "shape"
    assert {setting.name: setting.annotation for setting in settings} == {
        setting: type(default) for setting, default in FORMS[name].settings.items()
    }
    assert all(setting.kind is setting.KEYWORD_ONLY for setting in settings)


@pytest.mark.parametrize("name", [name for name in FORMS if name != "input"])
def test_a_form_is_held_to_a_reference(name):
    texts = [path.read_text() for path in Path(__file__).parent.glob("test_*.py") if path != Path(__file__)]
    assert any(f'assert_is("{name}"' in text or f'assert_is({{"form": "{name}"' in text for text in texts)


@every_form
@pytest.mark.parametrize("lengths", BATCHES.values(), ids=BATCHES)
def test_it_gives_the_shape_that_it_says(name, lengths):
    form = built(name)
    given, shape = form(random_fields(lengths)), out_shape_of(form)
    assert given.request.shape == (len(lengths), shape.request, shape.dim)
    assert given.candidate.shape == (sum(lengths), shape.candidate, shape.dim)


@every_form
@pytest.mark.parametrize("lengths", BATCHES.values(), ids=BATCHES)
def test_what_is_computed_once_a_request_is_what_each_candidate_would_give(name, lengths):
    split, copied = built(name), built(name, SHAPE.per_candidate())
    copied.load_state_dict(split.state_dict())
    fields = random_fields(lengths)
    once, each = numbers(split(fields)), numbers(copied(per_candidate(fields)))
    # The numbers of a request stand first where it has its own.
    torch.testing.assert_close(once.sort(dim=1).values, each.sort(dim=1).values)


@every_form
@pytest.mark.parametrize("lengths", BATCHES.values(), ids=BATCHES)
def test_torchscript_gives_the_same(name, lengths):
    form, fields = built(name), random_fields(lengths)
    torch.testing.assert_close(numbers(torch.jit.script(form)(fields)), numbers(form(fields)))


@every_form
def test_a_candidate_is_scored_as_if_it_stood_alone(name):
    form, fields = built(name), random_fields([40, 60])
    together = numbers(form(fields))
    for row in (0, 39, 40, 99):
        owner = int(fields.owner[row])
        alone = fields._replace(
            request=fields.request[owner : owner + 1],
            candidate=fields.candidate[row : row + 1],
            owner=torch.zeros(1, dtype=torch.int64),
        )
        torch.testing.assert_close(numbers(form(alone)), together[row : row + 1])


@every_form
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_other_precisions_are_kept(name, dtype):
    form = built(name).to(dtype)
    given = numbers(form(random_fields([40, 3], dtype=dtype)))
    assert given.dtype == dtype
    assert given.isfinite().all()


@every_form
def test_autocast_gives_nearly_the_same(name):
    form, fields = build_interaction(name, SHAPE), random_fields([40, 3], dtype=torch.float32)
    exact = numbers(form(fields))
    with torch.autocast("cpu", dtype=torch.bfloat16):
        given = numbers(form(fields))
    assert (given - exact).norm() <= 0.02 * exact.norm()
    (given * torch.randn_like(exact)).sum().backward()
    gradients = [x.grad for x in (*form.parameters(), fields.request, fields.candidate)]
    assert all(gradient.dtype == torch.float32 and gradient.isfinite().all() for gradient in gradients)


@every_form
def test_every_weight_and_every_input_counts(name):
    form, fields = built(name), random_fields([2, 3])
    given = numbers(form(fields))
    (given * torch.randn_like(given)).sum().backward()
    assert [label for label, weight in form.named_parameters() if not weight.grad.any()] == []
    assert fields.request.grad.any(dim=2).all()
    assert fields.candidate.grad.any(dim=2).all()


@every_form
def test_it_starts_from_its_seed(name):
    def start():
        torch.manual_seed(3)
        return build_interaction(name, SHAPE).state_dict()

    first, second = start(), start()
    assert all(torch.equal(first[key], second[key]) for key in first)
