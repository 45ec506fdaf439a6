"""Histories encoded once, for retrieval and for ranking. Written for TorchScript."""

from typing import NamedTuple

from pinfm.model.dcat import Context
from pinfm.model.inputs import History


class Encoded(NamedTuple):
    """U histories as `ScoringModule.encode` gives them; in C++ a tuple, handed on as it is.

    Args:
        history: as the host gave them.
        read: as candidates read them: an adapted model may drop events.
        context: what the transformer keeps of `read`; empty of a model without a tower.
    """

    history: History
    read: History
    context: Context
