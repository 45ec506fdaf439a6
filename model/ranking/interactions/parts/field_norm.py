"""Layer normalisation of each feature vector."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from pinfm.model.ranking.interactions.parts.fields import Fields, FieldShape


class FieldNorm(nn.Module):
    """Every vector by its own mean and deviation, with a gain and a bias of its own: a request's once a request.

    Args:
        shape: of the input and the output. Parameters: 2 (R + C) D.
    """

    def __init__(self, shape: FieldShape) -> None:
        super().__init__()
        self.request_vectors, self.dim = shape.request, shape.dim
        self.gain_FD = nn.Parameter(torch.ones(shape.vectors(), shape.dim))
        self.bias_FD = nn.Parameter(torch.zeros(shape.vectors(), shape.dim))

    def forward(self, fields: Fields) -> Fields:
        """The fields, normalised."""
        end = self.request_vectors
        return Fields(
            self._normed(fields.request, self.gain_FD[:end], self.bias_FD[:end]),
            self._normed(fields.candidate, self.gain_FD[end:], self.bias_FD[end:]),
            fields.owner,
        )

    def _normed(self, x_NFD: Tensor, gain_FD: Tensor, bias_FD: Tensor) -> Tensor:
        return F.layer_norm(x_NFD, [self.dim]) * gain_FD + bias_FD
