"""Each form of ours that FuxiCTR has too: where it stands in the model there, and how their weights become ours."""

from collections.abc import Callable, Mapping

from torch import Tensor, nn

from benchmarks.parts.peers.swap import Pair

State = dict[str, Tensor]


def renamed(names: Mapping[str, str]) -> Callable[[nn.Module], State]:
    """Weights that need no more than our names.

    Args:
        names: beginning of a name of theirs, below the model -> what stands for it in ours.
    """

    def weights(model: nn.Module) -> State:
        state: State = {}
        for name, value in model.state_dict().items():
            for theirs, ours in names.items():
                if name.startswith(theirs):
                    state[ours + name.removeprefix(theirs)] = value
        return state

    return weights


PAIRS = {
    "dot": Pair(
        ours="dot",
        model="DLRM.DLRM",
        settings={"top_mlp_units": [128, 64]},
        place="interact",
        tail="top_mlp",
        newest=78,
        weights=renamed({}),
        told="the products are the same; ours gives the vectors beside them, as the paper has it for the dense vector",
    ),
    "dcn_v2_full_rank": Pair(
        ours={"form": "dcn_v2_full_rank", "layers": 3},
        model="DCNv2.DCNv2",
        settings={"model_structure": "stacked", "stacked_dnn_hidden_units": [128, 64], "num_cross_layers": 3},
        place="crossnet",
        tail="stacked_dnn",
        weights=renamed(
            {
                "crossnet.cross_layers.0.": "first.linear.",
                "crossnet.cross_layers.1.": "later.0.",
                "crossnet.cross_layers.2.": "later.1.",
            }
        ),
        told="the same",
    ),
}
