"""No interaction: what a form is compared with, and what stands beside one in `parallel`."""

from torch import nn

from pinfm.model.ranking.interactions.parts.fields import Fields, FieldShape


class Input(nn.Module):
    """Gives what it reads. No parameters.

    Args:
        shape: of the input and the output.
    """

    def __init__(self, shape: FieldShape) -> None:
        super().__init__()
        self.out_shape = shape

    def forward(self, fields: Fields) -> Fields:
        """The fields."""
        return fields
