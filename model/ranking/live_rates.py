"""How often what was shown was acted on, from the counters that a request brings.

N  candidates     M  dense features of a candidate     R  rates
"""

import torch
from torch import Tensor, nn

from pinfm.model.live_counts import IMPRESSION, LiveCountsSpec
from pinfm.model.schema import Feature, InputSchema

# Impressions at the overall rate that every key starts with, so that one lucky impression is no certainty.
PRIOR_IMPRESSIONS = 20.0


class LiveRates(nn.Module):
    """Smoothed rates of the counters, as logarithms of their ratio to the overall rate.

    A rate among n impressions is (marks + a r) / (n + a), with r the overall rate and a = PRIOR_IMPRESSIONS; its
    logarithm less that of r is 0 where nothing is known, and stays near it where little is.

    Args:
        marks: R columns of the dense features with the counters of a kind.
        impressions: R columns with the impressions of the same key and window.
        rates: the overall rate of each.
    """

    marks: Tensor
    impressions: Tensor
    overall: Tensor

    def __init__(self, marks: list[int], impressions: list[int], rates: list[float]) -> None:
        super().__init__()
        self.register_buffer("marks", torch.tensor(marks, dtype=torch.int64), persistent=False)
        self.register_buffer("impressions", torch.tensor(impressions, dtype=torch.int64), persistent=False)
        self.register_buffer("overall", torch.tensor(rates))
        self.prior = PRIOR_IMPRESSIONS

    def forward(self, dense_NM: Tensor) -> Tensor:
        """(N, M) raw dense features of candidates -> (N, R) float32, in the order of `rate_features`."""
        shown_NR, marks_NR = dense_NM[:, self.impressions], dense_NM[:, self.marks]
        rates_NR = (marks_NR + self.prior * self.overall) / (shown_NR + self.prior)
        return rates_NR.log() - self.overall.log()


class NoLiveRates(nn.Module):
    """Requests bring no counters, or none of impressions."""

    def forward(self, dense_NM: Tensor) -> Tensor:
        """(N, 0)."""
        return dense_NM[:, :0]


def rate_features(schema: InputSchema) -> tuple[Feature, ...]:
    """The dense features that `LiveRates` adds; they are near 0 as they come, and are not scaled further."""
    spec = schema.live_counts
    if spec is None:
        return ()
    return tuple(Feature(name=f"{mark}_rate", kind="dense", scope="candidate") for mark, _, _ in _pairs(spec))


def build_live_rates(schema: InputSchema) -> nn.Module:
    """The module for a dataset's counters."""
    spec = schema.live_counts
    pairs = [] if spec is None else _pairs(spec)
    if not pairs:
        return NoLiveRates()
    columns = [feature.name for feature in schema.of("dense", "candidate")]
    return LiveRates(
        marks=[columns.index(mark) for mark, _, _ in pairs],
        impressions=[columns.index(shown) for _, shown, _ in pairs],
        rates=[rate for _, _, rate in pairs],
    )


def _pairs(spec: LiveCountsSpec) -> list[tuple[str, str, float]]:
    """The names of the counters of a kind and of impressions beside it, and the kind's overall rate.

    A kind that the training split never had has no rate to compare with.
    """
    if IMPRESSION not in spec.kinds:
        return []
    count, shown = len(spec.kinds), spec.kinds.index(IMPRESSION)
    names = spec.names()
    return [
        (names[start + place], names[start + shown], spec.rates[kind])
        for start in range(0, len(names), count)
        for place, kind in enumerate(spec.kinds)
        if kind != IMPRESSION and spec.rates.get(kind, 0.0) > 0
    ]
