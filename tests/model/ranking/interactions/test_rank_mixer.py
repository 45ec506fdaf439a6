"""RankMixer against its formula."""

import pytest
import torch
from interaction_fakes import SHAPE, assert_is, built, normalised

from pinfm.embeddings.errors import UserError
from pinfm.model.ranking.interactions.parts.fields import FieldShape


# Twenty numbers in five tokens of four, one of them a request's and a candidate's in part, or in three that are uneven;
# of requests alone, of candidates alone; single numbers.
@pytest.mark.parametrize(
    ("layers", "tokens", "shape"),
    [
        (1, 5, SHAPE),
        (3, 3, SHAPE),
        (2, 2, SHAPE),
        (2, 3, (0, 3, 4)),
        (2, 3, (3, 0, 4)),
        (1, 3, (4, 3, 1)),
        (1, 1, SHAPE),
    ],
)
def test_tokens_exchange_their_heads_and_keep_weights_of_their_own(layers, tokens, shape):
    head = 2
    width = tokens * head

    def feed_forward(layer, i, x):
        hidden = torch.nn.functional.gelu(x @ layer.up.weight[i] + layer.up.bias[i, 0])
        return hidden @ layer.down.weight[i] + layer.down.bias[i, 0]

    def reference(form, x_NFD):
        count = x_NFD.size(1) * x_NFD.size(2)
        pieces = torch.tensor_split(x_NFD.flatten(1), [count * i // tokens for i in range(1, tokens)], dim=1)
        assert len(form.layers) == layers
        assert len(form.tokens) == tokens == len(pieces)
        x = [piece @ map.linear.weight.T + map.linear.bias for piece, map in zip(pieces, form.tokens, strict=True)]
        for layer in form.layers:
            mixed = [torch.cat([token[:, i * head : (i + 1) * head] for token in x], dim=1) for i in range(tokens)]
            x = [normalised(new + old, layer.mixed_norm) for new, old in zip(mixed, x, strict=True)]
            x = [normalised(feed_forward(layer, i, token) + token, layer.norm) for i, token in enumerate(x)]
        return sum(x) / tokens

    settings = {"layers": layers, "tokens": tokens, "width": width, "projection_ratio": 1.5}
    assert_is({"form": "rank_mixer", **settings}, reference, FieldShape(*shape))


def test_parameters():
    width, tokens, hidden = 10, 5, 20
    layer = tokens * (2 * hidden * width + hidden + width) + 4 * width
    form = built({"form": "rank_mixer", "layers": 3, "tokens": tokens, "width": width})
    assert sum(weight.numel() for weight in form.parameters()) == (20 + tokens) * width + 3 * layer


def test_a_token_of_the_request_alone_is_made_once_a_request():
    form = built({"form": "rank_mixer", "tokens": 5, "width": 10})
    assert [token.request_width for token in form.tokens] == [4, 4, 4, 0, 0]


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        ({"tokens": 21, "width": 42}, r"\.tokens \(21\) must be at most the 20 numbers that are cut into them\.$"),
        ({"tokens": 4, "width": 10}, r"\.width \(10\) must be a multiple of tokens \(4\); try 8 or 12\.$"),
        ({"tokens": 4, "width": 3}, r"\.width \(3\) must be a multiple of tokens \(4\); try 4\.$"),
        ({"projection_ratio": 0.001}, r"\.projection_ratio \(0\.001\) leaves no hidden unit; try 2\.0\.$"),
    ],
)
def test_what_can_not_be_is_told(settings, sentence):
    with pytest.raises(UserError, match=r"^ranker\.interaction" + sentence):
        built({"form": "rank_mixer", **settings})
