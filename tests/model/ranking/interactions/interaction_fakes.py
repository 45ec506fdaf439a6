"""Random fields, and a form held against a plain reference."""

import torch
from model_fakes import assert_same_gradients, gradients, roughen

from pinfm.model.ranking.interactions.build import build_interaction, out_shape_of
from pinfm.model.ranking.interactions.parts.fields import Fields, FieldShape, whole

# Three vectors of a request, two of a candidate.
SHAPE = FieldShape(3, 2, 4)
# Candidates of each request: few, many, none at all, a batch of one, no request.
BATCHES = {"few": [2, 0, 3], "many": [40, 0, 60], "none": [0, 0], "one": [1], "no request": []}


def random_fields(lengths, shape=SHAPE, dtype=torch.float64):
    """Fields of requests with so many candidates each, which want a gradient."""
    request = torch.randn(len(lengths), shape.request, shape.dim, dtype=dtype, requires_grad=True)
    candidate = torch.randn(sum(lengths), shape.candidate, shape.dim, dtype=dtype, requires_grad=True)
    return Fields(request, candidate, torch.repeat_interleave(torch.tensor(lengths, dtype=torch.int64)))


def built(value, shape=SHAPE):
    """What `ranker.interaction` describes, in float64, in evaluation mode, nothing at its initial value."""
    return roughen(build_interaction(value, shape).double().eval())


def numbers(fields):
    """All that a form gives for each candidate: (N, W)."""
    return whole(fields).flatten(1)


def normalised(x, norm):
    """What nn.LayerNorm gives, by its formula."""
    centred = x - x.mean(-1, keepdim=True)
    return centred / (centred.square().mean(-1, keepdim=True) + norm.eps).sqrt() * norm.weight + norm.bias


def assert_is(value, reference, shape=SHAPE):
    """A form gives what its reference gives, and passes the same gradients.

    Args:
        value: of `ranker.interaction`.
        reference: (module, x_NFD) -> (N, W): the formula in plain operations on all vectors of each candidate.
        shape: of the input.
    """
    form = built(value, shape)
    assert out_shape_of(form).width() == numbers(form(random_fields([1], shape))).size(1)
    for lengths in BATCHES.values():
        fields = random_fields(lengths, shape)
        expected, actual = reference(form, whole(fields)), numbers(form(fields))
        torch.testing.assert_close(actual, expected)
        weights = torch.randn_like(expected)
        inputs = {"request": fields.request, "candidate": fields.candidate, **dict(form.named_parameters())}
        assert_same_gradients(
            gradients((actual * weights).sum(), inputs), gradients((expected * weights).sum(), inputs), 1e-7
        )
