"""From a config to a sharded training module with its optimizers: the one path for 1 and for N ranks."""

import warnings
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torchrec.distributed.embedding import EmbeddingCollectionSharder
from torchrec.distributed.model_parallel import DefaultDataParallelWrapper, DistributedModelParallel
from torchrec.distributed.types import ShardingEnv
from torchrec.modules.embedding_modules import EmbeddingCollection
from torchrec.optim.apply_optimizer_in_backward import apply_optimizer_in_backward
from torchrec.optim.clipping import GradientClipping, GradientClippingOptimizer
from torchrec.optim.keyed import CombinedOptimizer, KeyedOptimizerWrapper
from torchrec.optim.optimizers import in_backward_optimizer_filter
from torchrec.optim.rowwise_adagrad import RowWiseAdagrad

from pinfm.embeddings.sharded.collections import embedding_collection
from pinfm.embeddings.sharded.hardware import this_hardware
from pinfm.embeddings.sharded.init import fill_uniform
from pinfm.embeddings.sharded.plan import TableUse, sharding_plan
from pinfm.embeddings.specs import IdTable, TableOptimizer, feature_table, item_table, user_table
from pinfm.model.encoder import build_encoder, is_pretrained
from pinfm.model.ranking.joint import FusedRanker, build_model
from pinfm.model.schema import InputSchema
from pinfm.model.stored.run_folder import FEATURE_TABLES, ITEM_TABLES
from pinfm.train.config import OptimizerConfig, RunConfig
from pinfm.train.distributed import is_first_rank
from pinfm.train.loader.batches import RequestBatch, SegmentBatch
from pinfm.train.objectives.actions import NextActionLoss
from pinfm.train.objectives.finetune import JointLosses, PlainLosses, RankingObjective
from pinfm.train.objectives.inputs import InputAssembler
from pinfm.train.objectives.pretrain import Losses, PretrainObjective

META = torch.device("meta")
# fbgemm's own; the classes that stand for its optimizers say 1e-10, which it would not read.
TABLE_EPS = 1e-8


@dataclass(frozen=True, kw_only=True)
class Tables:
    """The id tables of a run.

    Args:
        item: of item ids.
        features: of the user id, then of each categorical feature; empty in pretraining.
    """

    item: IdTable
    features: tuple[IdTable, ...]


class PretrainModule(nn.Module):
    """Lookup, then the objective. TorchRec's pipeline reads this forward, so it does nothing else.

    Args:
        item_tables: the item id tables.
        objective: the dense part.
    """

    def __init__(self, item_tables: EmbeddingCollection, objective: PretrainObjective) -> None:
        super().__init__()
        self.item_tables, self.objective = item_tables, objective

    def forward(self, batch: SegmentBatch) -> tuple[Tensor, Losses]:
        """The loss and its parts."""
        loss, parts = self.objective(batch, self.item_tables(batch.item_rows))
        return loss, parts


class FinetuneModule(nn.Module):
    """Lookups, then the objective. TorchRec's pipeline reads this forward, so it does nothing else.

    Args:
        item_tables: the item id tables, shared by history and candidates.
        feature_tables: user ids and categorical features.
        objective: the dense part.
    """

    def __init__(
        self,
        item_tables: EmbeddingCollection,
        feature_tables: EmbeddingCollection,
        objective: RankingObjective,
    ) -> None:
        super().__init__()
        self.item_tables, self.feature_tables, self.objective = item_tables, feature_tables, objective

    def forward(self, batch: RequestBatch) -> tuple[Tensor, Losses]:
        """The loss and its parts."""
        items = self.item_tables(batch.item_rows)
        loss, parts = self.objective(batch, items, self.feature_tables(batch.feature_rows))
        return loss, parts


class AmongRanks(DefaultDataParallelWrapper):  # type: ignore[misc]  # torchrec carries no types
    """Averages the dense part's gradients over the ranks; of one rank alone they are the average as they are."""

    def wrap(self, dmp: DistributedModelParallel, env: ShardingEnv, device: torch.device) -> None:
        """Wraps the dense part in DDP."""
        if env.world_size > 1:
            super().wrap(dmp, env, device)


def pretrain_tables(config: RunConfig) -> Tables:
    """The tables of a pretraining run."""
    return Tables(item=item_table(config.item_table), features=())


def finetune_tables(config: RunConfig, schema: InputSchema, num_users: int) -> Tables:
    """The tables of a fine-tuning run.

    Args:
        config: table sizes.
        schema: categorical features and how many values each has.
        num_users: users in the dataset.
    """
    features = schema.of("categorical", "request") + schema.of("categorical", "candidate")
    own = [feature_table(feature.name, feature.num_values, config.feature_tables) for feature in features]
    return Tables(item=item_table(config.item_table), features=(user_table(num_users, config.feature_tables), *own))


def build_pretrain(config: RunConfig, schema: InputSchema, tables: Tables, device: torch.device) -> PretrainModule:
    """The unsharded training module; its tables stand on the meta device, its dense part on `device`."""
    encoder = build_encoder(config.model(), schema, tables.item.num_hashes * tables.item.dim)
    next_action = None
    if config.pretrain.next_action_weight:
        next_action = NextActionLoss(len(schema.actions), config.tower.out_dim, schema.has_request_surface)
    objective = PretrainObjective(encoder, tables.item, config.pretrain, next_action)
    # Nothing in pretraining reads these.
    encoder.content.requires_grad_(False)
    return PretrainModule(embedding_collection([tables.item], META), objective.to(device))


def build_finetune(config: RunConfig, schema: InputSchema, tables: Tables, device: torch.device) -> FinetuneModule:
    """The unsharded training module; its tables stand on the meta device, its dense part on `device`."""
    model = build_model(config.model(), schema, tables.item.num_hashes * tables.item.dim, config.feature_tables.dim)
    losses: PlainLosses | JointLosses = PlainLosses()
    if isinstance(model, FusedRanker):
        if config.finetune.freeze_tower:
            freeze_pretrained(model)
        if not config.finetune.next_token_weight:
            # Data-parallel training waits for the gradient of every weight that asks for one; these get none.
            model.encoder.psi.requires_grad_(False)
            model.encoder.request_time.requires_grad_(False)
            model.encoder.log_temperature.requires_grad_(False)
        losses = JointLosses(model.encoder, config.finetune, config.cold_start.alignment_weight)
    assemble = InputAssembler(
        schema=schema,
        item_table=tables.item,
        feature_tables=tables.features,
        freeze_items=config.use_tower and config.finetune.freeze_tower,
    )
    objective = RankingObjective(model, assemble, losses, config.finetune.adversarial_radius)
    return FinetuneModule(
        embedding_collection([tables.item], META),
        embedding_collection(tables.features, META),
        objective.to(device),
    )


def freeze_pretrained(model: FusedRanker) -> None:
    """Stops what pretraining has trained; what only candidates use (content, learnable token) still has to learn.

    The action that marks a candidate is a row of a pretrained table, so it stays as it was initialised.
    """
    for name, parameter in model.named_parameters():
        if is_pretrained(name):
            parameter.requires_grad_(False)


def in_backward(optimizer: type[torch.optim.Optimizer], parameters: Iterable[Tensor], **arguments: float) -> None:
    """Lets the backward pass of tables step by an optimizer.

    Args:
        optimizer: its class.
        parameters: of the tables.
        arguments: `lr` and `eps`.

    Raises:
        ValueError: another argument; sharded tables would not heed it, and say nothing.
    """
    if set(arguments) != {"lr", "eps"}:
        raise ValueError(f"sharded tables heed lr and eps of their optimizer and no more, not {sorted(arguments)}.")
    apply_optimizer_in_backward(optimizer, parameters, arguments)


def fuse_optimizer(module: nn.Module, config: RunConfig, rates: OptimizerConfig) -> None:
    """Adagrad in the backward pass of the tables; the item tables are the pretrained ones.

    Args:
        module: holds `item_tables`, and `feature_tables` where there are some.
        config: the item tables' kind of Adagrad.
        rates: the tables' learning rates.
    """
    kinds: dict[TableOptimizer, Any] = {"rowwise_adagrad": RowWiseAdagrad, "adagrad": torch.optim.Adagrad}
    fused = {
        ITEM_TABLES: (kinds[config.item_table.optimizer], rates.table_lr * rates.pretrained_lr_scale),
        FEATURE_TABLES: (RowWiseAdagrad, rates.table_lr),
    }
    for name, tables in module.named_children():
        if name in fused:
            optimizer, rate = fused[name]
            in_backward(optimizer, tables.parameters(), lr=rate, eps=TABLE_EPS)


def shard(
    module: PretrainModule | FinetuneModule,
    config: RunConfig,
    rates: OptimizerConfig,
    uses: Mapping[str, TableUse],
    device: torch.device,
) -> DistributedModelParallel:
    """Plans the tables over the ranks, fuses their optimizer into the backward pass, and fills new rows.

    Args:
        module: from `build_pretrain` or `build_finetune`.
        config: of the run.
        rates: the tables' learning rates.
        uses: from `pretrain_uses` or `finetune_uses`.
        device: of this rank.
    """
    bounds = {
        f"{owner}.embeddings.{table.name}.weight": (table.get_weight_init_min(), table.get_weight_init_max())
        for owner, collection in module.named_children()
        if isinstance(collection, EmbeddingCollection)
        for table in collection.embedding_configs()
    }
    if config.item_table.precision == "fp16" and device.type == "cpu" and is_first_rank():
        warnings.warn(
            "on a CPU item rows in fp16 are rounded to the nearest number, so that small steps are lost; train on a "
            "GPU, or with item_table.precision fp32",
            stacklevel=2,
        )
    fuse_optimizer(module, config, rates)
    group = dist.group.WORLD
    assert group is not None
    sharders = [EmbeddingCollectionSharder()]
    model = DistributedModelParallel(
        module,
        device=device,
        plan=sharding_plan(module, sharders, group, this_hardware(device, group), uses),
        sharders=sharders,
        data_parallel_wrapper=AmongRanks(static_graph=False),
    )
    state = model.state_dict()
    for name, bound in bounds.items():
        for part in state[name].local_shards():
            rows, columns = part.metadata.shard_offsets
            fill_uniform(part.tensor, name, config.seed, (rows, columns), bound)
    return model


def build_optimizer(model: DistributedModelParallel, config: OptimizerConfig) -> CombinedOptimizer:
    """AdamW for the dense weights, the pretrained ones at their own rate, and the tables' fused optimizers beside it.

    Args:
        model: the sharded module.
        config: learning rates, decay and clipping.
    """
    dense = {
        name: parameter
        for name, parameter in in_backward_optimizer_filter(model.named_parameters())
        if parameter.requires_grad
    }
    pretrained = {id(parameter) for name, parameter in dense.items() if is_pretrained(name)}

    def adamw(parameters: Iterable[Tensor]) -> torch.optim.Optimizer:
        parameters = list(parameters)
        groups = [
            {
                "params": [p for p in parameters if id(p) in pretrained],
                "lr": config.dense_lr * config.pretrained_lr_scale,
            },
            {"params": [p for p in parameters if id(p) not in pretrained], "lr": config.dense_lr},
        ]
        # On a CPU torch's own choice is a loop of ten operations over the weights, one by one.
        fused = True if all(p.device.type == "cpu" for p in parameters) else None
        return torch.optim.AdamW([g for g in groups if g["params"]], weight_decay=config.weight_decay, fused=fused)

    clipped = GradientClippingOptimizer(
        KeyedOptimizerWrapper(dense, adamw), clipping=GradientClipping.NORM, max_gradient=config.gradient_clip_norm
    )
    return CombinedOptimizer([("tables", model.fused_optimizer), ("dense", clipped)])
