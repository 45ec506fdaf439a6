"""A module list with a type is still the module list that checkpoints and TorchScript know."""

import torch
from torch import Tensor, nn

from pinfm.embeddings.module_list import module_list


class Halves(nn.Module):
    def __init__(self):
        super().__init__()
        self.parts = module_list(nn.Linear(2, 2, bias=False) for _ in range(2))

    def forward(self, x: Tensor) -> Tensor:
        for part in self.parts:
            x = part(x)
        return x + self.parts[-1](x)


def test_it_is_registered_and_scripts():
    halves = Halves()
    assert list(halves.state_dict()) == ["parts.0.weight", "parts.1.weight"]
    x = torch.randn(3, 2)
    assert torch.equal(torch.jit.script(halves)(x), halves(x))
    assert not torch.equal(halves(x), x)
