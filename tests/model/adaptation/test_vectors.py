"""The adaptation of event vectors, whose gradient is written by hand, against autograd and against what it promises."""

import dataclasses

import pytest
import torch
import torch.nn.functional as F

from benchmarks.parts.robustness.attacks import plain_adaptation as plain
from pinfm.embeddings.errors import UserError
from pinfm.model.adaptation.config import LOSSES, VectorAdaptationConfig
from pinfm.model.adaptation.reference import Reference
from pinfm.model.adaptation.vectors import DEAD_ZONE, VectorAdaptation, signs
from pinfm.model.config import ColdStartConfig, ModelConfig, TowerConfig
from pinfm.model.encoder import build_encoder
from pinfm.model.inputs import History
from pinfm.model.schema import InputSchema

NUM_ITEMS, ITEM_DIM, OUT_DIM = 40, 12, 8
SCHEMA = InputSchema(
    actions=("click", "save", "hide"),
    positive_actions=("click", "save"),
    surfaces=("home",),
    tasks=("click",),
    features=(),
)
TOWERS = {
    "one layer": {},
    "three gated layers": {"num_layers": 3, "mlp": "swiglu", "attention_gate": True},
    "told the time": {"num_layers": 2, "request_time": True, "positions": "none", "time": "none"},
    "late fusion": {"num_layers": 2, "fusion": "lite_mean"},
    "learnable token": {"num_layers": 2, "token": True},
}
EVERY_LOSS = VectorAdaptationConfig(
    masked_event_weight=0.7, contrastive_weight=0.3, future_token_weight=0.5, window=3, newest_events=9
)


def encoder_of(seed=0, token=False, **tower):
    torch.manual_seed(seed)
    cold_start = ColdStartConfig(learnable_token=token)
    settings = TowerConfig(**{"num_layers": 1, "dim": 16, "out_dim": OUT_DIM, **tower})
    encoder = build_encoder(ModelConfig(tower=settings, cold_start=cold_start), SCHEMA, ITEM_DIM).eval()
    for parameter in encoder.parameters():  # norms and biases start as ones and zeros, which hide mistakes
        parameter.data += 0.05 * torch.randn_like(parameter)
    return encoder.requires_grad_(False)


def histories(lengths=(12, 0, 30, 1, 3, 7), seed=1):
    generator = torch.Generator().manual_seed(seed)
    lengths_U = torch.tensor(lengths, dtype=torch.int64)
    num_events = int(lengths_U.sum())

    def draw(low, high):
        return torch.randint(low, high, (num_events,), generator=generator)

    times = draw(0, 10**6).split(list(lengths))
    timestamp_T = torch.cat([torch.sort(part).values for part in times]) if lengths else draw(0, 1)
    table = torch.randn(NUM_ITEMS, ITEM_DIM, generator=generator)
    history = History(lengths_U, draw(0, NUM_ITEMS), draw(0, 4), draw(0, 2), timestamp_T)
    return history, table[history.item_id]


def reference(num_items=10, num_states=6, seed=2):
    generator = torch.Generator().manual_seed(seed)

    def unit_rows(count):
        return F.normalize(torch.randn(count, OUT_DIM, generator=generator), dim=1)

    counts = torch.randint(1, 50, (num_items,), generator=generator)
    item_id = torch.arange(0, 3 * num_items, 3)
    return Reference(item_id, unit_rows(num_items), counts.float().log(), unit_rows(num_states), torch.tensor([1, 2]))


def adaptation(encoder, config=EVERY_LOSS):
    return VectorAdaptation(encoder, reference(), config).eval()


def moves(history):
    """(T,) bool: the newest events, whose vectors move."""
    return plain.distances(history) < EVERY_LOSS.newest_events


def only(loss):
    weights = {f"{name}_weight": float(name == loss) for name in LOSSES}
    return dataclasses.replace(EVERY_LOSS, **weights)


@pytest.mark.parametrize("tower", TOWERS)
def test_the_gradient_is_that_of_autograd(tower):
    encoder, (history, item_TE) = encoder_of(**TOWERS[tower]), histories()
    by_hand = adaptation(encoder)
    plan = by_hand.planner(history)
    losses_P, gradient_TE = by_hand.history_gradient(item_TE, plan, by_hand.history_gradient.older(item_TE, plan))
    moved_TE = item_TE.clone().requires_grad_()
    expected = plain.total(encoder, history, moved_TE, reference(), EVERY_LOSS)
    expected.backward()
    torch.testing.assert_close(losses_P.sum(), expected.detach(), rtol=1e-5, atol=1e-5)
    expected_TE = moved_TE.grad.masked_fill(~moves(history)[:, None], 0.0)
    assert (moved_TE.grad[~moves(history)] != 0).any()
    torch.testing.assert_close(gradient_TE, expected_TE, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("loss", LOSSES)
def test_each_loss_alone_is_that_of_the_plain_form(loss):
    encoder, (history, item_TE) = encoder_of(), histories()
    losses_U = adaptation(encoder, only(loss)).losses(history, item_TE)
    expected_U = plain.losses(encoder, history, item_TE, reference(), EVERY_LOSS)[loss]
    assert expected_U.abs().sum() > 0
    torch.testing.assert_close(losses_U, expected_U, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("newest", [9, 64])
@pytest.mark.parametrize("tower", TOWERS)
def test_the_context_is_that_of_the_adapted_vectors(tower, newest):
    encoder, (history, item_TE) = encoder_of(**TOWERS[tower]), histories()
    config = dataclasses.replace(EVERY_LOSS, newest_events=newest)
    adapted_TE, context = adaptation(encoder, config).encode(history, item_TE)
    expected = encoder.encode_context(history, adapted_TE)
    assert len(context.keys) == len(expected.keys)
    for found, wanted in zip(
        [context.lengths, context.rows, *context.keys, *context.values],
        [expected.lengths, expected.rows, *expected.keys, *expected.values],
        strict=True,
    ):
        torch.testing.assert_close(found, wanted, rtol=1e-4, atol=1e-5)


def test_the_losses_fall_together():
    encoder, (history, item_TE) = encoder_of(), histories((12, 30, 7))
    config = dataclasses.replace(EVERY_LOSS, steps=10, radius=0.3)
    adapted_TE = adaptation(encoder, config)(history, item_TE)
    before, after = (plain.losses(encoder, history, x_TE, reference(), config) for x_TE in (item_TE, adapted_TE))
    for loss in LOSSES:
        assert after[loss].sum() < before[loss].sum(), loss


def test_no_component_leaves_the_ball_and_the_ball_is_reached():
    encoder, (history, item_TE) = encoder_of(), histories((12, 30, 7))
    config = dataclasses.replace(EVERY_LOSS, steps=7, step_size=0.05, radius=0.12)
    change_TE = adaptation(encoder, config)(history, item_TE) - item_TE
    unit_T1 = plain.root_mean_squares(history, item_TE)[plain.owners(history)][:, None]
    assert (change_TE.abs() <= 0.12 * unit_T1 * (1 + 1e-4)).all()
    assert ((change_TE.abs() / unit_T1) > 0.1199).any()


def test_every_step_is_projected_and_not_the_last_alone(monkeypatch):
    """Three steps one way and one back: from where the ball ends, not from beyond it."""
    encoder, (history, item_TE) = encoder_of(), histories((12, 30))
    module = adaptation(encoder, dataclasses.replace(EVERY_LOSS, steps=4, step_size=0.05, radius=0.06))
    ways = iter([1.0, 1.0, 1.0, -1.0])
    gradient = module.history_gradient
    monkeypatch.setattr(gradient, "forward", lambda x_TE, *_: (x_TE.new_zeros(0), torch.full_like(x_TE, next(ways))))
    unit_T1 = plain.root_mean_squares(history, item_TE)[plain.owners(history)][:, None]
    change_TE = (module(history, item_TE) - item_TE) / unit_T1
    torch.testing.assert_close(change_TE, torch.full_like(item_TE, -0.01), rtol=0, atol=1e-5)


def test_one_step_goes_against_the_sign_of_the_gradient():
    encoder, (history, item_TE) = encoder_of(), histories((12, 30))
    change_TE = adaptation(encoder, dataclasses.replace(EVERY_LOSS, steps=1))(history, item_TE) - item_TE
    moved_TE = item_TE.clone().requires_grad_()
    plain.total(encoder, history, moved_TE, reference(), EVERY_LOSS).backward()
    gradient_TE = moved_TE.grad.masked_fill(~moves(history)[:, None], 0.0)
    owner_T = plain.owners(history)
    unit_T1, small_T1 = (plain.root_mean_squares(history, x)[owner_T][:, None] for x in (item_TE, gradient_TE))
    steps_TE = -change_TE / (EVERY_LOSS.step_size * unit_T1)
    clear_TE = gradient_TE.abs() > 2.01 * DEAD_ZONE * small_T1
    assert clear_TE[moves(history)].float().mean() > 0.8
    torch.testing.assert_close(steps_TE[clear_TE], gradient_TE.sign()[clear_TE], rtol=0, atol=1e-4)
    dead_TE = gradient_TE.abs() < 0.99 * DEAD_ZONE * small_T1
    assert dead_TE[moves(history)].any()
    assert (change_TE[dead_TE] == 0).all()


def test_weights_are_frozen_and_untouched():
    encoder, (history, item_TE) = encoder_of(), histories()
    before = {name: tensor.clone() for name, tensor in encoder.state_dict().items()}
    for parameter in encoder.parameters():
        parameter.requires_grad_(True)
    adapted_TE = adaptation(encoder)(history, item_TE)
    assert not adapted_TE.requires_grad
    assert not adaptation(encoder).losses(history, item_TE).requires_grad
    assert all(parameter.grad is None for parameter in encoder.parameters())
    assert all(torch.equal(tensor, before[name]) for name, tensor in encoder.state_dict().items())


def test_a_history_is_adapted_by_itself():
    encoder, (history, item_TE) = encoder_of(), histories((12, 30, 7))
    together_TE = adaptation(encoder)(history, item_TE)
    first = 0
    for length in (12, 30, 7):
        rows = slice(first, first + length)
        alone = History(torch.tensor([length]), *(values[rows] for values in history[1:]))
        torch.testing.assert_close(adaptation(encoder)(alone, item_TE[rows]), together_TE[rows], rtol=0, atol=1e-4)
        first += length


def test_two_threads_give_what_one_gives():
    encoder, (history, item_TE) = encoder_of(), histories((256, 200))
    config = dataclasses.replace(EVERY_LOSS, newest_events=64)
    threads = torch.get_num_threads()
    found = []
    try:
        for count in (1, 2):
            torch.set_num_threads(count)
            found.append(adaptation(encoder, config)(history, item_TE))
    finally:
        torch.set_num_threads(threads)
    torch.testing.assert_close(found[0], found[1], rtol=0, atol=1e-6)


@pytest.mark.parametrize("tower", TOWERS)
def test_it_is_torchscript_where_autograd_is_dead(tower):
    encoder, (history, item_TE) = encoder_of(**TOWERS[tower]), histories()
    eager = adaptation(encoder)
    frozen = torch.jit.freeze(torch.jit.script(eager), preserved_attrs=["losses"])
    with torch.inference_mode():
        adapted_TE = frozen(history, item_TE)
        losses_U = frozen.losses(history, item_TE)
    torch.testing.assert_close(adapted_TE, eager(history, item_TE), rtol=0, atol=1e-5)
    torch.testing.assert_close(losses_U, eager.losses(history, item_TE))


@pytest.mark.parametrize("lengths", [(), (0,), (0, 0), (1,), (2, 1)])
def test_short_histories_and_none(lengths):
    encoder, (history, item_TE) = encoder_of(), histories(lengths)
    adapted_TE = adaptation(encoder)(history, item_TE)
    assert adapted_TE.shape == item_TE.shape
    assert adapted_TE.isfinite().all()


def test_a_history_without_positive_events_stays_as_it_is():
    encoder, (history, item_TE) = encoder_of(), histories((9,))
    config = dataclasses.replace(EVERY_LOSS, contrastive_weight=0.0)
    of_no_use = history._replace(action=torch.full_like(history.action, 3))
    assert torch.equal(adaptation(encoder, config)(of_no_use, item_TE), item_TE)


def test_bfloat16_is_close_and_stays_bfloat16():
    encoder, (history, item_TE) = encoder_of(), histories((12, 30))
    expected_TE = adaptation(encoder)(history, item_TE)
    rounded = encoder_of().to(torch.bfloat16)
    held = reference()
    held = held._replace(z=held.z.bfloat16(), states=held.states.bfloat16())
    adapted_TE = VectorAdaptation(rounded, held, EVERY_LOSS).eval()(history, item_TE.bfloat16())
    assert adapted_TE.dtype == torch.bfloat16
    # Where the gradient is near 0 its sign is another.
    close = torch.isclose(adapted_TE.float(), expected_TE, atol=0.05)
    assert close.float().mean() > 0.9


def test_signs_have_a_dead_zone_and_no_jump():
    sizes = torch.tensor([[-1.0, 0.5, 1.0, 1.5, -1.5, 2.0, 0.0]])
    gradient_TE = torch.cat([sizes * DEAD_ZONE / 2**0.5, torch.ones(1, 7)])  # of a root mean square of sqrt(1/2)
    found = signs(gradient_TE, torch.tensor([0, 0]), torch.tensor([2]))
    torch.testing.assert_close(found[0], torch.tensor([0.0, 0.0, 0.0, 0.5, -0.5, 1.0, 0.0]), rtol=0, atol=1e-3)
    assert torch.equal(found[1], torch.ones(7))


def test_losses_without_any_weight_are_refused():
    with pytest.raises(UserError, match="all losses have weight 0; give one of them a weight"):
        VectorAdaptationConfig(next_token_weight=0.0, multi_token_weight=0.0, future_token_weight=0.0)


@pytest.mark.parametrize("loss", LOSSES)
def test_each_loss_has_something_to_ask_of_so_few_events_or_they_are_refused(loss):
    of_one = {f"{name}_weight": float(name == loss) for name in LOSSES}
    fewest = {"future_token": 6, "masked_event": 4}.get(loss, 2)
    encoder, (history, item_TE) = encoder_of(), histories((12,))
    history = history._replace(action=torch.full_like(history.action, int(reference().positive[0])))
    config = VectorAdaptationConfig(**of_one, window=5, newest_events=fewest)
    assert adaptation(encoder, config).losses(history, item_TE) > 0
    sentence = rf"newest_events \({fewest - 1}\) must be at least {fewest} for the {loss} loss; raise it, or set"
    with pytest.raises(UserError, match=sentence):
        dataclasses.replace(config, newest_events=fewest - 1)
