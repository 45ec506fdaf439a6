"""Every form of interaction in an exported file: with and without the tower, tables in fp32 and packed."""

from typing import get_args

import pytest
import torch
from test_module import BATCHES, build, inputs_of

from pinfm.inference.export import save_module
from pinfm.model.ranking.interactions.table import InteractionName

# Tables of 4 columns, which int4 asks for.
PACKED, DIM = "int4", 4
# As in serving: so many that what a request's candidates share is computed once, whatever the form's threshold.
MANY = [(3, 300)]


@pytest.mark.parametrize("precision", ["fp32", PACKED])
@pytest.mark.parametrize("use_tower", [True, False], ids=["tower", "no tower"])
@pytest.mark.parametrize("name", get_args(InteractionName))
@torch.no_grad()
def test_a_form_is_exported(tmp_path, name, use_tower, precision):
    module, schema = build(interaction=name, use_tower=use_tower, precision=precision, table_dim=DIM)
    save_module(module, tmp_path / "scoring.pt")
    loaded = torch.jit.load(tmp_path / "scoring.pt")
    for lengths in [*BATCHES.values(), MANY]:
        inputs = inputs_of(schema, lengths)
        torch.testing.assert_close(loaded(inputs), module(inputs), rtol=1e-5, atol=1e-6)
        with torch.enable_grad():
            assert not any(scores.requires_grad for scores in loaded(inputs).values())


@torch.no_grad()
def test_packed_tables_are_packed():
    whole, packed = (served_bytes(build(precision=precision, table_dim=DIM)[0]) for precision in ("fp32", PACKED))
    assert packed < whole


def served_bytes(module):
    return sum(buffer.nbytes for name, buffer in module.item_tables.named_buffers() if "rows" in name)
