"""A run's settings: one tree of frozen dataclasses. `train/recipes/*.yaml` holds the shipped trees.

Every field is a flag of `pinfm pretrain` and `pinfm finetune`: `--tower.num_layers 4`, `--finetune.epochs 2`.
"""

from dataclasses import dataclass, field, replace
from typing import Literal

from pinfm.embeddings.errors import UserError, require_at_least, require_at_most, require_positive, require_types
from pinfm.embeddings.specs import FeatureTableConfig, ItemTableConfig, ManagedIdsConfig
from pinfm.model.config import MIN_TEMPERATURE, ColdStartConfig, ModelConfig, RankerConfig, TowerConfig

Device = Literal["auto", "cpu", "cuda"]


# A run of more is a slip of the hand, and would never end.
MOST_EPOCHS = 1_000_000


@dataclass(frozen=True, kw_only=True)
class OptimizerConfig:
    """Learning rates: AdamW for dense weights, fused Adagrad for tables, row-wise or as `item_table` says.

    Args:
        dense_lr: of the ranker in fine-tuning, of the tower in pretraining.
        table_lr: of the feature tables in fine-tuning, of the item tables in pretraining.
        pretrained_lr_scale: in fine-tuning, tower and item tables learn at this share of the two rates above;
            0.1 in the paper.
        weight_decay: of the dense weights.
        gradient_clip_norm: largest norm of the dense gradient.
        warmup_steps: steps of linear warm-up.
        decay: after warm-up, keep the rates or let them fall on a half cosine to a tenth.
    """

    dense_lr: float = 1e-3
    table_lr: float = 0.05
    pretrained_lr_scale: float = 1.0
    weight_decay: float = 0.01
    gradient_clip_norm: float = 1.0
    warmup_steps: int = 100
    decay: Literal["constant", "cosine"] = "constant"

    def __post_init__(self) -> None:
        require_types("optimizer", self, infinite=("gradient_clip_norm",))
        require_positive(
            "optimizer",
            dense_lr=self.dense_lr,
            table_lr=self.table_lr,
            pretrained_lr_scale=self.pretrained_lr_scale,
            gradient_clip_norm=self.gradient_clip_norm,
        )
        require_at_least("optimizer", 0, weight_decay=self.weight_decay, warmup_steps=self.warmup_steps)


@dataclass(frozen=True, kw_only=True)
class PretrainValidation:
    """Evaluations on the validation split during pretraining: next items among the whole catalogue, as of `evaluate`.

    Args:
        per_epoch: evaluations an epoch, evenly spaced, and one after the last step; below 1 one in several epochs. At 0
            there are none: the run lasts for all its epochs, and its newest checkpoint is the one that counts.
        patience: the run ends after so many evaluations that are no better than the best before them; a tie is no
            better. Learning rates that fall until the last step keep the planned length.
        queries: at most so many users' next items are asked for, always the same.
        metric: says which checkpoint is the best.
    """

    per_epoch: float = 0.0
    patience: int = 5
    queries: int = 10_000
    metric: Literal["ndcg@10", "ndcg@50", "ndcg@100", "hr@10", "hr@50", "hr@100"] = "ndcg@10"

    def __post_init__(self) -> None:
        require_types("pretrain.validation", self)
        require_at_least("pretrain.validation", 0, per_epoch=self.per_epoch)
        require_at_least("pretrain.validation", 1, patience=self.patience, queries=self.queries)


@dataclass(frozen=True, kw_only=True)
class FinetuneValidation:
    """Evaluations on the validation split during fine-tuning.

    Args:
        per_epoch: as of pretraining.
        patience: as of pretraining.
        requests: at most so many are predicted, always the same, rounded up to whole batches.
        metric: mean over the tasks, which says which checkpoint is the best; of `ne` and `logloss` the lowest. A task
            that has no such metric on these requests, as where no label is positive, is left out of the mean.
    """

    per_epoch: float = 0.0
    patience: int = 5
    requests: int = 10_000
    metric: Literal["auc", "request_auc", "ne", "logloss"] = "auc"

    def __post_init__(self) -> None:
        require_types("finetune.validation", self)
        require_at_least("finetune.validation", 0, per_epoch=self.per_epoch)
        require_at_least("finetune.validation", 1, patience=self.patience, requests=self.requests)


@dataclass(frozen=True, kw_only=True)
class PretrainConfig:
    """Self-supervised pretraining.

    Args:
        epochs: passes over the training events; about 3 in the paper.
        batch_size: segments a step, over all ranks.
        segment_length: L; a user's history is cut into segments of so many events, without overlap.
        loss_weights: what the weights of the losses that name items (the next four) weigh. `by_pairs`: their pairs; the
            mean over the pairs of all of them is minimised, as where the paper sums. `by_means`: each loss's own mean
            over its pairs, so that few pairs count as much as many.
        next_token_weight: weight of L_ntl.
        multi_token_weight: weight of L_mtl.
        future_token_weight: weight of L_ftl, which has at most `window` pairs a segment: by means, at weight 1 each of
            them counts many times as much as one of L_ntl.
        masked_event_weight: weight of the masked-event loss: some events hide their items, and the state at such an
            event, which knows its action, surface and time and the events before, has to name the item. It takes one
            more encoding of the segments.
        next_action_weight: weight of the next-action loss, binary cross-entropy of what the user did with the item that
            came next, which the tower reads as it reads a candidate: most like what a ranker is trained for, where
            events also tell what was passed over. It takes one crossing of the segments' events.
        unmet_items: items of other users' events that the next-action loss offers beside each event's own, as such with
            which nothing is done. For logs whose events do not tell what was passed over.
        masked_events: share of the events that hide their items, drawn anew in every step.
        contrastive_weight: weight of the contrastive loss between two views of a segment, a random half of its events
            and the other half: the states after their newest events agree, and differ from those of other users. It
            takes one more encoding too.
        contrastive_temperature: of that loss; it is not learnt.
        window: L', how many events ahead L_mtl and L_ftl look.
        pairs_per_anchor: targets that L_mtl draws for each event.
        future_anchor_length: L_d, the history length at which L_ftl looks ahead; below segment_length.
        negatives: what a target is compared with. `in_batch`: the batch's positive events; `sampled`: items drawn
            evenly from the catalogue; `catalogue`: every item, the full softmax, for catalogues up to some 100,000.
        num_sampled: items drawn a step, over all ranks.
        log_q: correct the in-batch negatives for their popularity.
        validation: evaluations while it trains, which may end it early.
        optimizer: learning rates.
    """

    epochs: int = 3
    batch_size: int = 128
    segment_length: int = 64
    loss_weights: Literal["by_means", "by_pairs"] = "by_means"
    next_token_weight: float = 1.0
    multi_token_weight: float = 1.0
    future_token_weight: float = 1.0
    masked_event_weight: float = 0.0
    masked_events: float = 0.2
    next_action_weight: float = 0.0
    unmet_items: int = 0
    contrastive_weight: float = 0.0
    contrastive_temperature: float = 0.2
    window: int = 8
    pairs_per_anchor: int = 2
    future_anchor_length: int = 32
    negatives: Literal["in_batch", "sampled", "catalogue"] = "in_batch"
    num_sampled: int = 1024
    log_q: bool = False
    validation: PretrainValidation = field(default_factory=PretrainValidation)
    optimizer: OptimizerConfig = field(default_factory=OptimizerConfig)

    def __post_init__(self) -> None:
        require_types("pretrain", self)
        require_at_most("pretrain", MOST_EPOCHS, epochs=self.epochs)
        require_at_least("pretrain", 1, epochs=self.epochs, window=self.window, pairs_per_anchor=self.pairs_per_anchor)
        require_at_least(
            "pretrain",
            0,
            next_token_weight=self.next_token_weight,
            multi_token_weight=self.multi_token_weight,
            future_token_weight=self.future_token_weight,
            masked_event_weight=self.masked_event_weight,
            next_action_weight=self.next_action_weight,
            contrastive_weight=self.contrastive_weight,
            unmet_items=self.unmet_items,
        )
        naming = (self.next_token_weight, self.multi_token_weight, self.future_token_weight, self.masked_event_weight)
        if not any(naming):
            # The contrastive loss alone would leave psi, which items are compared by, as it was initialised.
            raise UserError(
                "pretrain's four losses that name items all have weight 0; give next_token_weight, multi_token_weight, "
                "future_token_weight or masked_event_weight a weight, such as 1."
            )
        if not 0.0 < self.masked_events < 1.0:
            raise UserError(f"pretrain.masked_events ({self.masked_events}) must lie between 0 and 1, both excluded.")
        require_at_least("pretrain", MIN_TEMPERATURE, contrastive_temperature=self.contrastive_temperature)
        for loss, setting in (
            ("masked_event", "masked_events"),
            ("next_action", "unmet_items"),
            ("contrastive", "contrastive_temperature"),
        ):
            value = getattr(self, setting)
            if not getattr(self, f"{loss}_weight") and value != getattr(PretrainConfig, setting):
                raise UserError(
                    f"pretrain.{setting} ({value}) is not read while pretrain.{loss}_weight is 0; give that a weight, "
                    "or leave the setting out."
                )
        if self.log_q and self.negatives != "in_batch":
            raise UserError(
                f"pretrain.log_q corrects in-batch negatives, but pretrain.negatives is {self.negatives!r}; "
                "switch log_q off."
            )
        if not 0 < self.future_anchor_length < self.segment_length:
            raise UserError(
                f"pretrain.future_anchor_length ({self.future_anchor_length}) must lie between 0 and "
                f"pretrain.segment_length ({self.segment_length})."
            )


@dataclass(frozen=True, kw_only=True)
class FinetuneConfig:
    """Joint training of tower and ranker on impressions.

    Args:
        epochs: passes over the training requests.
        batch_size: requests a step, over all ranks.
        newest_days: only the training requests of the newest so many days are read; three weeks in the paper. Histories
            reach back as far as ever, and pretraining reads everything.
        request_share: only this share of those requests is read, drawn by the hash of their ids and the seed: what a
            model is worth with fewer labels. Histories and pretraining read everything here too.
        requests_per_user: so many successive requests of a user stay together in the shuffle and share one encoding
            of their history, unless a learnable token ends it; more is faster, and less mixed.
        freeze_tower: train the ranker alone; tower and item tables keep their pretrained values.
        pretrained_sums_scale: what the Adagrad sums of pretrained item tables count for. The gradients of pretraining
            are larger than the ranker's, and a row's steps are divided by the root of its sums: at 1, rows hardly move.
        tower_prediction_weight: weight of the ranking losses on predictions made from the tower's output alone.
        agreement_weight: weight of the MSE between those predictions and the ranker's.
        next_token_weight: weight of L_ntl on the requests' histories.
        next_token_newest: L_ntl looks at so many newest events of each history.
        adversarial_radius: above 0, half of the step's loss is of histories that an adversary has moved: each component
            of an event's item vector by so many root mean squares of its history's components, in the direction that
            raises the ranking loss (the fast gradient sign method). A step takes about twice the time.
        validation: evaluations while it trains, which may end it early.
        optimizer: learning rates.
    """

    epochs: int = 1
    batch_size: int = 256
    newest_days: int = 36_500
    request_share: float = 1.0
    requests_per_user: int = 8
    freeze_tower: bool = False
    pretrained_sums_scale: float = 0.001
    tower_prediction_weight: float = 0.5
    agreement_weight: float = 0.1
    next_token_weight: float = 0.1
    next_token_newest: int = 8
    adversarial_radius: float = 0.0
    validation: FinetuneValidation = field(default_factory=FinetuneValidation)
    optimizer: OptimizerConfig = field(default_factory=lambda: OptimizerConfig(pretrained_lr_scale=0.1))

    def __post_init__(self) -> None:
        require_types("finetune", self)
        require_at_most("finetune", MOST_EPOCHS, epochs=self.epochs)
        require_at_least(
            "finetune",
            1,
            epochs=self.epochs,
            newest_days=self.newest_days,
            requests_per_user=self.requests_per_user,
            next_token_newest=self.next_token_newest,
        )
        require_at_least(
            "finetune",
            0,
            pretrained_sums_scale=self.pretrained_sums_scale,
            tower_prediction_weight=self.tower_prediction_weight,
            agreement_weight=self.agreement_weight,
            next_token_weight=self.next_token_weight,
            adversarial_radius=self.adversarial_radius,
        )
        if not 0.0 < self.request_share <= 1.0:
            raise UserError(f"finetune.request_share ({self.request_share}) must lie above 0, and be at most 1.")


@dataclass(frozen=True, kw_only=True)
class RunConfig:
    """One run.

    Args:
        seed: of weights, shuffles, dropout and draws.
        device: `auto` takes a GPU where there is one.
        precision: of the dense part; `item_table.precision` is that of the item tables.
        max_history: newest events of a request's history that the model reads.
        data_streams: files are read as so many interleaved streams, divided among the ranks; a step's examples are
            the same at every number of ranks that divides it.
        checkpoint_steps: steps between checkpoints; one is always written at the end.
        log_steps: steps between lines of metrics.jsonl.
        use_tower: false trains the same ranker without the tower.
        item_table: the item id tables.
        feature_tables: the tables of the user id and of categorical features.
        managed_ids: who has a row, where `item_table.ids` or `feature_tables.user_ids` is `managed`.
        tower: the sequence tower.
        cold_start: the tower's cold-start techniques.
        ranker: the ranker.
        pretrain: settings of `pinfm pretrain`.
        finetune: settings of `pinfm finetune`.
    """

    seed: int = 0
    device: Device = "auto"
    precision: Literal["fp32", "bf16"] = "fp32"
    max_history: int = 64
    data_streams: int = 8
    checkpoint_steps: int = 1000
    log_steps: int = 50
    use_tower: bool = True
    item_table: ItemTableConfig = field(default_factory=ItemTableConfig)
    feature_tables: FeatureTableConfig = field(default_factory=FeatureTableConfig)
    managed_ids: ManagedIdsConfig = field(default_factory=ManagedIdsConfig)
    tower: TowerConfig = field(default_factory=TowerConfig)
    cold_start: ColdStartConfig = field(default_factory=ColdStartConfig)
    ranker: RankerConfig = field(default_factory=RankerConfig)
    pretrain: PretrainConfig = field(default_factory=PretrainConfig)
    finetune: FinetuneConfig = field(default_factory=FinetuneConfig)

    def __post_init__(self) -> None:
        require_types("", self)
        require_at_least("", 0, seed=self.seed)
        if self.seed >= 1 << 32:
            raise UserError(f"seed ({self.seed}) must be below 2**32.")
        require_at_least(
            "",
            1,
            max_history=self.max_history,
            data_streams=self.data_streams,
            checkpoint_steps=self.checkpoint_steps,
            log_steps=self.log_steps,
        )
        for phase, size in (("pretrain", self.pretrain.batch_size), ("finetune", self.finetune.batch_size)):
            if size < 1 or size % self.data_streams:
                raise UserError(
                    f"{phase}.batch_size ({size}) must be a multiple of data_streams ({self.data_streams})."
                )
        sampled = self.pretrain.negatives == "sampled"
        if sampled and (self.pretrain.num_sampled < 1 or self.pretrain.num_sampled % self.data_streams):
            raise UserError(
                f"pretrain.num_sampled ({self.pretrain.num_sampled}) must be a multiple of data_streams "
                f"({self.data_streams})."
            )
        widths = {
            "item_table.dim": self.item_table.dim,
            "feature_tables.dim / num_hashes": self.feature_tables.dim // self.feature_tables.num_hashes,
        }
        for name, width in widths.items():
            if width % 4:
                raise UserError(f"{name} ({width}) must be a multiple of 4, which fbgemm's kernels ask of a row.")
        item_dim = self.item_table.num_hashes * self.item_table.dim
        if self.tower.heads == "tied" and self.use_tower and item_dim != self.tower.dim:
            raise UserError(
                f"tower.heads tied compares the transformer's states with item vectors as they are, so "
                f"item_table.num_hashes * item_table.dim ({item_dim}) must be tower.dim ({self.tower.dim})."
            )
        if self.pretrain.next_action_weight and self.tower.fusion != "early":
            raise UserError(
                f"pretrain.next_action_weight ({self.pretrain.next_action_weight}) trains how candidates meet the "
                f"history, but with tower.fusion {self.tower.fusion} they do not; set it to 0, or the fusion to early."
            )
        if self.finetune.adversarial_radius and not self.use_tower:
            raise UserError(
                f"finetune.adversarial_radius ({self.finetune.adversarial_radius}) moves the events that the tower "
                "reads, but use_tower is false; set it to 0."
            )
        self.model()  # its parts are checked against each other there

    def model(self) -> ModelConfig:
        """The part that builds the dense model."""
        return ModelConfig(tower=self.tower, cold_start=self.cold_start, ranker=self.ranker, use_tower=self.use_tower)

    def with_item_ages(self, thresholds: tuple[str, ...]) -> "RunConfig":
        """The same settings, with a dataset's thresholds of item ages where they name none: so a run keeps them."""
        own = self.cold_start.item_age_thresholds or thresholds
        return replace(self, cold_start=replace(self.cold_start, item_age_thresholds=own))


def require_equal_shares(data_streams: int, world_size: int) -> None:
    """Raises UserError where ranks would read different numbers of streams."""
    if data_streams % world_size:
        raise UserError(
            f"data_streams ({data_streams}) must be a multiple of the number of processes ({world_size}); "
            f"set data_streams to {world_size * max(1, data_streams // world_size)}."
        )
