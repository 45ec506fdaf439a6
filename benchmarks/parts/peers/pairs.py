"""Each form of ours that FuxiCTR has too: the model there, where the form stands in it, and where the two differ."""

from benchmarks.parts.peers import weights
from benchmarks.parts.peers.swap import Pair

# Behind the interaction, or beside it where the model has it there.
HIDDEN = [128, 64]

PAIRS = {
    "dot": Pair(
        ours="dot",
        model="DLRM.DLRM",
        settings={"top_mlp_units": HIDDEN},
        place="interact",
        tail="top_mlp",
        beside_input=True,
        weights=weights.none,
        told="ours gives the vectors beside their products, as DLRM does with the dense one; left out here",
    ),
    "dcn_v2_full_rank": Pair(
        ours={"form": "dcn_v2_full_rank", "layers": 3},
        model="DCNv2.DCNv2",
        settings={"model_structure": "stacked", "stacked_dnn_hidden_units": HIDDEN, "num_cross_layers": 3},
        place="crossnet",
        tail="stacked_dnn",
        weights=weights.full_rank_cross,
        told="nowhere",
    ),
    "dcn_v2_mixture": Pair(
        ours={"form": "dcn_v2_mixture", "layers": 2, "rank": 32, "experts": 4},
        model="DCNv2.DCNv2",
        settings={
            "model_structure": "stacked",
            "stacked_dnn_hidden_units": HIDDEN,
            "num_cross_layers": 2,
            "use_low_rank_mixture": True,
            "low_rank": 32,
            "num_experts": 4,
        },
        place="crossnet",
        tail="stacked_dnn",
        weights=weights.mixture_cross,
        told="its layers share one gate, ours have one each; it loses the batch's dimension where that is 1",
    ),
    "mask_net_serial": Pair(
        ours={"form": "mask_net_serial", "blocks": 3, "width": 128, "projection_ratio": 1.0},
        model="MaskNet.MaskNet",
        settings={"model_type": "SerialMaskNet", "dnn_hidden_units": [128, 128, 128]},
        place="mask_net",
        tail="mask_net.fc",
        idle=("emb_norm",),
        weights=weights.mask_net,
        told="nowhere",
    ),
    "mask_net_parallel": Pair(
        ours={"form": "mask_net_parallel", "blocks": 3, "width": 128, "projection_ratio": 1.0},
        model="MaskNet.MaskNet",
        settings={
            "model_type": "ParallelMaskNet",
            "parallel_num_blocks": 3,
            "parallel_block_dim": 128,
            "dnn_hidden_units": HIDDEN,
        },
        place="mask_net",
        tail="mask_net.dnn",
        idle=("emb_norm",),
        weights=weights.mask_net,
        told="nowhere",
    ),
    "gdcn": Pair(
        ours={"form": "gdcn", "layers": 3},
        model="GDCN.GDCN",
        settings={"dnn_hidden_units": HIDDEN, "num_cross_layers": 3},
        place="cross_net",
        tail="dnn",
        weights=weights.gated_cross,
        told="in the function nowhere; its b starts between 0 and 1, ours around 0",
    ),
    "autoint": Pair(
        ours={"form": "autoint", "layers": 2, "heads": 2},
        model="AutoInt.AutoInt",
        settings={"dnn_hidden_units": HIDDEN, "attention_layers": 2, "num_heads": 2, "attention_dim": 16},
        place="self_attention",
        tail="fc",
        weights=weights.autoint,
        told="its residual is the vector itself, ours W_res of it, as in the paper",
    ),
    "wukong": Pair(
        ours={"form": "wukong", "layers": 2, "rank": 8, "vectors": 8, "width": 64},
        model="WuKong.WuKong",
        settings={
            "num_wukong_layers": 2,
            "lcb_features": 8,
            "fmb_features": 8,
            "fmb_mlp_units": [64],
            "fmp_rank_k": 8,
            "mlp_hidden_units": HIDDEN,
            "mlp_batch_norm": False,
        },
        place="wukong_stack",
        tail="fc",
        weights=weights.wukong,
        alike=weights.as_our_wukong,
        told="its MLP has ReLU, also after its last layer, ours GELU and none there; its residual map has a bias",
    ),
}
