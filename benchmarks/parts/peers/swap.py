"""One of our forms in the place of a FuxiCTR model's own interaction, and how equal the two are.

N  rows     F  columns     D  width of a column's vector     W  width of the interaction's output
"""

import copy
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from pinfm.model.ranking.interactions.build import build_interaction, out_shape_of
from pinfm.model.ranking.interactions.parts.fields import Fields, FieldShape, whole

# What the names of the columns' tables begin with in a model of FuxiCTR.
TABLES = "embedding_layer."


@dataclass(frozen=True, kw_only=True)
class Pair:
    """A model of FuxiCTR's zoo and the form of ours that stands for its interaction.

    Args:
        ours: as `ranker.interaction` has it.
        model: FOLDER.CLASS of the zoo.
        settings: of that class.
        place: its module that ours replaces; called with the columns' vectors first.
        tail: its module that reads the interaction's output; below `place`, or after it.
        told: where the two differ, for the table.
        instead: attribute of the model -> what it becomes, where ours does that attribute's work too.
        beside_input: our output begins with the vectors themselves, which do not go on.
        to_logit: what ours replaces ends in the logit, so that a linear layer follows ours.
        weights: the model -> the state of ours that computes the same; None where nothing does.
        alike: takes out of the model, for the comparison of outputs alone, what `told` says that ours has otherwise.
    """

    ours: Any
    model: str
    settings: Mapping[str, Any]
    place: str
    tail: str
    told: str
    instead: Mapping[str, Any] = field(default_factory=dict)
    beside_input: bool = False
    to_logit: bool = False
    weights: Callable[[nn.Module], dict[str, Tensor]] | None = None
    alike: Callable[[nn.Module], None] | None = None

    def our_tail(self) -> str:
        """Where the tail stands once ours is in its place."""
        return f"{self.place}.tail" if self.tail.startswith(f"{self.place}.") else self.tail


class InPlace(nn.Module):
    """A form behind the signature of what it replaces.

    Args:
        form: built for F vectors of a candidate.
        num_fields: F.
        skipped: so many numbers that its output begins with do not go on.
        tail: reads the form's output; None where the model does that itself.
    """

    def __init__(self, form: nn.Module, num_fields: int, skipped: int, tail: nn.Module | None) -> None:
        super().__init__()
        self.form, self.num_fields, self.skipped, self.tail = form, num_fields, skipped, tail

    def forward(self, vectors: Tensor, *_: Tensor) -> Tensor:
        """(N, F, D) or (N, F D) -> (N, W), or the tail's output."""
        x_NFD = vectors.view(len(vectors), self.num_fields, -1)
        # FuxiCTR knows of no requests: every column belongs to the candidate.
        owner_N = torch.zeros(len(vectors), dtype=torch.long)
        fields = Fields(x_NFD.new_zeros(1, 0, x_NFD.size(2)), x_NFD, owner_N)
        out_NW = whole(self.form(fields)).flatten(1)[:, self.skipped :]
        return out_NW if self.tail is None else self.tail(out_NW)


def swapped(theirs: nn.Module, pair: Pair, shape: FieldShape) -> nn.Module:
    """A copy of a model with our form in it, initialised as it ships; all else starts from the same weights."""
    ours = copy.deepcopy(theirs)
    form = build_interaction(pair.ours, shape)
    tail = ours.get_submodule(pair.tail) if pair.our_tail() != pair.tail else None
    if pair.to_logit:
        tail = nn.Linear(out_shape_of(form).width(), 1)
    skipped = shape.width() if pair.beside_input else 0
    setattr(ours, pair.place, InPlace(form, shape.vectors(), skipped, tail))
    for name, value in pair.instead.items():
        setattr(ours, name, value)
    ours.compile("adam", "binary_crossentropy", theirs.optimizer.param_groups[0]["lr"])
    return ours


def with_their_weights(theirs: nn.Module, pair: Pair, shape: FieldShape) -> nn.Module:
    """The same copy, whose form has the weights of what it stands for."""
    assert pair.weights is not None
    ours = swapped(theirs, pair, shape)
    in_place, state = ours.get_submodule(pair.place), pair.weights(theirs)
    of_tail = {name: state.pop(name) for name in list(state) if name.startswith("tail.")}
    in_place.form.load_state_dict(state)
    in_place.load_state_dict(of_tail, strict=False)
    return ours


def largest_differences(
    theirs: nn.Module, pair: Pair, batch: Mapping[str, Tensor], shape: FieldShape
) -> dict[str, float]:
    """How far ours, with their weights, is from theirs: of the output and of the gradient that reaches the tables.

    Args:
        theirs: a model; its weights are overwritten by random ones of order 1, for fresh ones are small or 0.
        pair: with `weights`.
        batch: rows.
        shape: F, D.

    Returns:
        The largest differences over the largest values.
    """
    for name, parameter in theirs.named_parameters():
        if parameter.requires_grad:
            of_order_1 = parameter.dim() == 1 or name.startswith(TABLES)
            nn.init.normal_(parameter.data, std=1.0 if of_order_1 else parameter.size(-1) ** -0.5)
    if pair.alike is not None:
        pair.alike(theirs)
    ours = with_their_weights(theirs, pair, shape)
    (their_out, their_grads), (our_out, our_grads) = (
        _read_by_tail(theirs, pair.tail, batch),
        _read_by_tail(ours, pair.our_tail(), batch),
    )
    return {
        "output": _largest([our_out - their_out]) / _largest([their_out]),
        "gradient": _largest([x - y for x, y in zip(our_grads, their_grads, strict=True)]) / _largest(their_grads),
    }


def one_row(model: nn.Module, batch: Mapping[str, Tensor]) -> str:
    """What goes wrong with a batch of one: `nothing`, or what its score and a step of training on it come to."""
    alone = {name: column[:1] for name, column in batch.items()}
    model.eval()
    with torch.no_grad():
        within, by_itself = (model(rows)["y_pred"].flatten()[0] for rows in (batch, alone))
    if not torch.allclose(within, by_itself, atol=1e-6):
        return "another score"
    try:
        model.train()
        model._max_gradient_norm = 10.0  # as its `fit` has it
        model.train_step(alone)
    except (ValueError, RuntimeError, IndexError) as error:
        return f"{type(error).__name__} in training"
    return "nothing"


def _read_by_tail(model: nn.Module, tail: str, batch: Mapping[str, Tensor]) -> tuple[Tensor, list[Tensor]]:
    """What a model's tail reads, and the gradients of a fixed product with it by the embedding tables."""
    read: list[Tensor] = []
    hook = model.get_submodule(tail).register_forward_pre_hook(lambda _, inputs: read.append(inputs[0]))
    model.eval()
    model(batch)
    hook.remove()
    out = read[0].flatten(1)
    tables = [table for name, table in model.named_parameters() if name.startswith(TABLES)]
    direction = torch.randn(out.shape, generator=torch.Generator().manual_seed(0))
    return out.detach(), list(torch.autograd.grad((out * direction).sum(), tables))


def _largest(tensors: list[Tensor]) -> float:
    return max(float(tensor.abs().max()) for tensor in tensors)
