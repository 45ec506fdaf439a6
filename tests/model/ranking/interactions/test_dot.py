"""The dot product against a loop over pairs."""

import pytest
import torch
from interaction_fakes import assert_is

from pinfm.embeddings.errors import UserError
from pinfm.model.ranking.interactions.forms.dot import DotInteraction
from pinfm.model.ranking.interactions.parts.fields import FieldShape


@pytest.mark.parametrize("shape", [(3, 2, 4), (0, 3, 4), (2, 0, 4), (1, 1, 2), (0, 1, 4)])
def test_dot_gives_the_vectors_and_every_pair_once(shape):
    requests = shape[0]

    def reference(_, x_NFD):
        def pairs(wanted):
            count = x_NFD.size(1)
            chosen = [(i, j) for j in range(count) for i in range(count) if wanted(i, j)]
            return [(x_NFD[:, i] * x_NFD[:, j]).sum(1, keepdim=True) for i, j in chosen]

        of_request = [x_NFD[:, :requests].flatten(1), *pairs_in_order(pairs, 0, requests)]
        between = pairs(lambda i, j: i < requests <= j)
        of_candidate = [x_NFD[:, requests:].flatten(1), *between, *pairs_in_order(pairs, requests, x_NFD.size(1))]
        return torch.cat([*of_request, *of_candidate], dim=1)

    assert_is("dot", reference, FieldShape(*shape))


def pairs_in_order(pairs, begin, end):
    """The pairs among the vectors from `begin` to `end`, by the first and then by the second."""
    return [one for i in range(begin, end) for one in pairs(lambda a, b, i=i: a == i and i < b < end)]


def test_single_numbers_have_no_products():
    with pytest.raises(UserError, match=r"^ranker\.interaction: dot reads feature vectors, but what stands before it"):
        DotInteraction(FieldShape(0, 8, 1))
