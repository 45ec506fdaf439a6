"""A world in which injected events can be told: one fashion that everybody follows at times, and a taste of one's own.

The items are topics of ten. Everybody has a topic, of which 6 in 10 events are; the others are of topic 0, the fashion.
"""

import torch
import torch.nn.functional as F
from model_fakes import schema

from pinfm.model.adaptation.reference import make_reference
from pinfm.model.config import ModelConfig, TowerConfig
from pinfm.model.encoder import build_encoder
from pinfm.model.inputs import History
from pinfm.model.layers.tokens import gaps_to_next

NUM_TOPICS, ITEMS_OF_TOPIC, LENGTH, ITEM_DIM = 7, 10, 24, 16
NUM_ITEMS = NUM_TOPICS * ITEMS_OF_TOPIC


def history_of(item_UL):
    """Clicks, an hour apart."""
    users, length = item_UL.shape
    one = torch.ones(users * length, dtype=torch.int64)
    times = 10**9 + 3600 * torch.arange(length).repeat(users)
    return History(torch.full((users,), length), item_UL.flatten(), one, one, times)


def draw_items(users, own_share):
    """(U, L) items, of which so many are of the user's own topic."""
    topic_U = torch.randint(1, NUM_TOPICS, (users,))
    own_UL = torch.rand(users, LENGTH) < own_share
    topic_UL = torch.where(own_UL, topic_U[:, None], 0)
    return ITEMS_OF_TOPIC * topic_UL + torch.randint(ITEMS_OF_TOPIC, (users, LENGTH))


def trained_tower(steps=200, users=32):
    """A small tower that has learnt the world, the vectors of its items, and a reference."""
    items = torch.nn.Embedding(NUM_ITEMS, ITEM_DIM)
    tower = TowerConfig(num_layers=1, dim=16, num_heads=2, out_dim=16)
    encoder = build_encoder(ModelConfig(tower=tower), schema(), ITEM_DIM).eval()
    optimizer = torch.optim.Adam([*items.parameters(), *encoder.parameters()], lr=0.02)
    for _ in range(steps):
        item_UL = draw_items(users, 0.6)
        history = history_of(item_UL)
        states_TO = encoder.states(encoder.encode_context(history, items(history.item_id)), gaps_to_next(history))
        logits_ULV = (states_TO @ encoder.psi(items.weight).T / encoder.temperature()).view(users, LENGTH, -1)
        loss = F.cross_entropy(logits_ULV[:, :-1].flatten(0, 1), item_UL[:, 1:].flatten())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    encoder.requires_grad_(False)
    vectors = items.weight.detach()
    others = history_of(draw_items(100, 0.6))
    return encoder, vectors, make_reference(encoder, others, vectors[others.item_id], schema().positive_codes())
