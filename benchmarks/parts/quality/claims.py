"""What arXiv 2412.01985 claims of interactions, each as a paired difference of two forms."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from pinfm.train.comparison.comparison import Form
from pinfm.train.comparison.report.markdown import table
from pinfm.train.comparison.report.rows import per_seed
from pinfm.train.comparison.report.statistics import Difference, paired_difference


def low_rank(layers: int) -> Form:
    """Stacked low-rank DCNv2."""
    return {"form": "dcn_v2_low_rank", "layers": layers}


# Rows that the claims need beside the named forms, of which dcn_v2_low_rank and cin have two layers.
EXTRA_FORMS: dict[str, Form] = {
    "dcn_v2_x1": low_rank(1),
    "dcn_v2_x3": low_rank(3),
    "dcn_v2_x4": low_rank(4),
    "dcn_v2_x8": low_rank(8),
    "dcn_v2_3_parallel": {"parallel": [low_rank(1)] * 3},
    "cin_x1": {"form": "cin", "layers": 1},
    "pinterest_with_input": {"parallel": ["input", "pinterest"]},
}


@dataclass(frozen=True, kw_only=True)
class Claim:
    """That one form is better than another.

    Args:
        told: the claim.
        ours: the form that should be better.
        theirs: the other.
        of: AUC, where more is better, or latency, where less is.
    """

    told: str
    ours: str
    theirs: str
    of: Literal["AUC", "latency"] = "AUC"

    def difference(self, forms: Mapping[str, Any], task: str | None) -> Difference:
        """What is gained: of AUC by seed, of milliseconds by the rounds of timing.

        Args:
            forms: their figures.
            task: whose AUC; None for the mean over all tasks.
        """
        ours, theirs = forms[self.ours], forms[self.theirs]
        if self.of == "AUC":
            return paired_difference(per_seed(ours, "auc", task), per_seed(theirs, "auc", task))
        return paired_difference(theirs["latency"]["rounds_p50_ms"], ours["latency"]["rounds_p50_ms"])


CLAIMS = (
    Claim(told="higher order helps: 2 layers over 1", ours="dcn_v2_low_rank", theirs="dcn_v2_x1"),
    Claim(told="higher order helps: 4 layers over 1", ours="dcn_v2_x4", theirs="dcn_v2_x1"),
    Claim(told="higher order helps: 8 layers over 4", ours="dcn_v2_x8", theirs="dcn_v2_x4"),
    Claim(told="higher order helps: triples over pairs", ours="cin", theirs="cin_x1"),
    Claim(told="parallel beats sequence: 3 MaskNets", ours="mask_net_parallel", theirs="mask_net_serial"),
    Claim(told="parallel beats sequence: 3 DCNv2", ours="dcn_v2_3_parallel", theirs="dcn_v2_x3"),
    Claim(told="non-linear helps: masks over crosses", ours="mask_net_parallel", theirs="dcn_v2_full_rank"),
    Claim(told="non-linear helps: two MLPs over crosses", ours="final_mlp", theirs="dcn_v2_full_rank"),
    Claim(told="non-linear helps: gated crosses over crosses", ours="gdcn", theirs="dcn_v2_full_rank"),
    Claim(told="the final form beats the baseline", ours="pinterest", theirs="pinterest_baseline"),
    Claim(told="no input beside: AUC", ours="pinterest", theirs="pinterest_with_input"),
    Claim(told="no input beside: latency", ours="pinterest", theirs="pinterest_with_input", of="latency"),
)


def claims_table(compared: Mapping[str, Any], task: str | None = None) -> str:
    """A line a claim: shown or refuted where the 95 % interval leaves out zero.

    Args:
        compared: what `compare` returned; claims of forms that it lacks are left out.
        task: whose AUC is meant; None for the mean over all tasks.
    """
    forms = compared["forms"]
    lines = []
    for claim in CLAIMS:
        if claim.ours in forms and claim.theirs in forms:
            difference = claim.difference(forms, task)
            lines.append([claim.told, claim.ours, claim.theirs, _told(claim, difference), difference.verdict])
    told = "the paper's claim" if task is None else f"the paper's claim, on {task}"
    return table([told, "form", "against", "gained", "verdict"], lines)


def _told(claim: Claim, difference: Difference) -> str:
    digits, unit = (4, "AUC") if claim.of == "AUC" else (2, "ms")
    half = "" if difference.half is None else f" ± {difference.half:.{digits}f}"
    return f"{difference.mean:+.{digits}f}{half} {unit}"
