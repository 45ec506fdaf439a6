"""Every form gives on a GPU, in float32, what it gives on a CPU in float64, and passes the same gradients."""

import copy
from typing import get_args

import pytest
import torch
from interaction_fakes import BATCHES, built, numbers, random_fields
from model_fakes import gradients

from pinfm.model.ranking.interactions.parts.fields import Fields
from pinfm.model.ranking.interactions.table import InteractionName

# Of the largest value: what float32 rounds. Products in tf32 would be off by some 1e-3.
TOLERANCE = 1e-4


@pytest.mark.parametrize("name", get_args(InteractionName))
@pytest.mark.parametrize("lengths", BATCHES.values(), ids=BATCHES)
def test_a_device_gives_what_a_cpu_gives(name, lengths, device):
    assert torch.get_float32_matmul_precision() == "highest"
    form, fields = built(name), random_fields(lengths)
    form_there = copy.deepcopy(form).to(device, torch.float32)
    vectors = (x.detach().to(device, torch.float32).requires_grad_() for x in (fields.request, fields.candidate))
    fields_there = Fields(*vectors, fields.owner.to(device))
    expected, found = numbers(form(fields)), numbers(form_there(fields_there))
    assert_near(found, expected, device)
    weights = torch.randn_like(expected)
    there = gradients((found * weights.to(found)).sum(), inputs(form_there, fields_there))
    for label, gradient in gradients((expected * weights).sum(), inputs(form, fields)).items():
        assert_near(there[label], gradient, device)


def inputs(form, fields):
    """What gradients are asked for."""
    return {"request": fields.request, "candidate": fields.candidate, **dict(form.named_parameters())}


def assert_near(found, expected, device):
    assert (found.device.type, found.dtype, found.shape) == (device.type, torch.float32, expected.shape)
    if expected.numel():
        difference = (found.detach().double().cpu() - expected.detach()).abs().max()
        assert difference <= TOLERANCE * expected.detach().abs().max()
