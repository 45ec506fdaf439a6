"""Small random requests and models, and gradients to compare."""

from typing import NamedTuple

import torch

from pinfm.model.config import ColdStartConfig, ModelConfig, RankerConfig, TowerConfig
from pinfm.model.encoder import build_dcat
from pinfm.model.inputs import Candidates, History
from pinfm.model.ranking.joint import build_model
from pinfm.model.ranking.ranker import RankerFeatures
from pinfm.model.schema import Feature, InputSchema

ITEM_DIM, FEATURE_DIM, NUM_ITEMS = 6, 4, 12
DAY = 86_400
SMALL_CROSS = {"parallel": ["input", {"form": "dcn_v2_low_rank", "layers": 2, "rank": 3}]}
# What a joint model may be made of, as arguments of `config`.
VARIANTS = {
    "early": {},
    "early, dot": {"interaction": "dot"},
    "token": {"token": True},
    "content": {"content": True},
    "token and content": {"token": True, "content": True},
    "content vector": {"content_vector": True},
    "content vector, no tower": {"content_vector": True, "use_tower": False},
    "tower path": {"tower_path": True},
    "lite_mean": {"fusion": "lite_mean"},
    "lite_last": {"fusion": "lite_last"},
    "no tower": {"use_tower": False},
}


class Request(NamedTuple):
    """One request in the form of a batch: lengths have one entry."""

    history: History
    candidates: Candidates
    features: RankerFeatures
    item_TE: torch.Tensor
    item_NE: torch.Tensor


def schema(content_dim=0):
    return InputSchema(
        actions=("click", "save", "hide"),
        positive_actions=("save", "click"),
        surfaces=("home", "search"),
        tasks=("click", "save", "share"),
        features=(
            Feature(name="price", kind="dense", scope="candidate", mean=0.5, std=2.0),
            Feature(name="author", kind="categorical", scope="candidate", num_values=9),
            Feature(name="age", kind="dense", scope="request", mean=-0.2, std=0.5),
            Feature(name="tab", kind="categorical", scope="request", num_values=3),
        ),
        content_dim=content_dim,
    )


def random_request(num_events, num_candidates, item_VE, content_dim=0):
    """A request whose events and candidates are drawn, with repetition, from the few items of `item_VE`."""
    event_items = torch.randint(len(item_VE), (num_events,))
    candidate_items = torch.randint(len(item_VE), (num_candidates,))
    times = torch.randint(10**6, (num_events,)).sort().values + 10**9
    now = torch.tensor([10**9 + 10**6 + int(torch.randint(10**5, ()))])
    content = torch.randn(num_candidates, content_dim, dtype=item_VE.dtype)
    content[::3] = 0.0
    return Request(
        History(
            torch.tensor([num_events]),
            event_items,
            torch.randint(4, (num_events,)),
            torch.randint(3, (num_events,)),
            times,
        ),
        Candidates(
            torch.tensor([num_candidates]),
            now,
            candidate_items,
            now - torch.randint(60 * DAY, (num_candidates,)),
            content,
            torch.randint(3, (1,)),
        ),
        RankerFeatures(
            torch.randn(1, 2, FEATURE_DIM, dtype=item_VE.dtype),
            torch.randn(num_candidates, 1, FEATURE_DIM, dtype=item_VE.dtype),
            torch.randn(1, 1, dtype=item_VE.dtype) * 3,
            torch.randn(num_candidates, 1, dtype=item_VE.dtype) * 3,
        ),
        item_VE[event_items],
        item_VE[candidate_items],
    )


def collate(requests):
    """Requests behind each other: every field of every part is a concatenation."""
    parts = []
    for column in zip(*requests, strict=True):
        if isinstance(column[0], torch.Tensor):
            parts.append(torch.cat(column))
        else:
            parts.append(type(column[0])(*(torch.cat(field) for field in zip(*column, strict=True))))
    return Request(*parts)


def random_requests(event_lengths, candidate_lengths, item_VE, content_dim=0):
    return [
        random_request(events, candidates, item_VE, content_dim)
        for events, candidates in zip(event_lengths, candidate_lengths, strict=True)
    ]


def config(
    fusion="early",
    interaction=SMALL_CROSS,
    token=False,
    content=False,
    use_tower=True,
    history_counts=False,
    content_vector=False,
    tower_path=False,
    request_time=False,
):
    return ModelConfig(
        tower=TowerConfig(
            num_layers=2, dim=8, num_heads=2, out_dim=5, dropout=0.1, fusion=fusion, request_time=request_time
        ),
        cold_start=ColdStartConfig(learnable_token=token, content_fusion=content),
        ranker=RankerConfig(
            interaction=interaction,
            dense_hidden=(5,),
            over_hidden=(7, 6),
            history_counts=history_counts,
            content_vector=content_vector,
            tower_path=tower_path,
        ),
        use_tower=use_tower,
    )


def content_dim_of(options):
    """What a variant's items need."""
    return 3 if options.get("content") or options.get("content_vector") else 0


def joint_model(**options):
    """A joint model in evaluation mode, its weights away from their initial zeros and ones."""
    model = build_model(config(**options), schema(content_dim_of(options)), ITEM_DIM, FEATURE_DIM).eval()
    return roughen(model)


def plain_dcat(dropout=0.0, **options):
    """The transformer alone, without dropout unless asked."""
    return build_dcat(TowerConfig(dropout=dropout, **options))


def roughen(module):
    """Moves every parameter, so that a bias or gain that is left out shows."""
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.add_(0.2 * torch.randn_like(parameter))
    return module


def gradients(loss, named_tensors):
    """The gradient of each tensor, zeros where the loss does not depend on it."""
    if not loss.requires_grad:
        return {name: torch.zeros_like(tensor) for name, tensor in named_tensors.items()}
    found = torch.autograd.grad(loss, list(named_tensors.values()), allow_unused=True, retain_graph=True)
    return {
        name: torch.zeros_like(tensor) if grad is None else grad
        for (name, tensor), grad in zip(named_tensors.items(), found, strict=True)
    }


def assert_same_gradients(actual, expected, tolerance):
    assert actual.keys() == expected.keys()
    for name in expected:
        torch.testing.assert_close(
            actual[name], expected[name], rtol=tolerance, atol=tolerance, msg=lambda text, name=name: f"{name}: {text}"
        )
