"""Jagged rows and padded blocks, against loops."""

import torch
from hypothesis import example, given
from hypothesis import strategies as st

from pinfm.model.layers.jagged import layout, pad, positions, starts, unpad

LENGTHS = st.lists(st.integers(0, 6), min_size=1, max_size=6)


@given(LENGTHS)
@example([3, 3])
def test_rows_come_back_from_the_padded_block(lengths):
    rows = torch.randn(sum(lengths), 3)
    where = layout(torch.tensor(lengths))
    block = pad(rows, where)
    assert block.shape == (len(lengths), max(1, *lengths, 1), 3)
    assert torch.equal(unpad(block, where), rows)


@given(LENGTHS)
@example([3, 3])
def test_the_block_holds_each_sequence_and_zeros_after_it(lengths):
    rows = torch.randn(sum(lengths), 2)
    block = pad(rows, layout(torch.tensor(lengths)))
    at = 0
    for b, length in enumerate(lengths):
        assert torch.equal(block[b, :length], rows[at : at + length])
        assert not block[b, length:].any()
        at += length


@given(LENGTHS)
def test_positions_and_starts_count_within_each_sequence(lengths):
    where = layout(torch.tensor(lengths))
    assert where.owners.tolist() == [b for b, length in enumerate(lengths) for _ in range(length)]
    assert positions(torch.tensor(lengths), where.owners).tolist() == [i for n in lengths for i in range(n)]
    assert starts(torch.tensor(lengths)).tolist() == [sum(lengths[:b]) for b in range(len(lengths))]


def test_gradients_pass_through_padding_unchanged():
    rows = torch.randn(4, 2, requires_grad=True)
    weights = torch.randn(4, 2)
    where = layout(torch.tensor([3, 0, 1]))
    (unpad(pad(rows, where), where) * weights).sum().backward()
    assert torch.equal(rows.grad, weights)
