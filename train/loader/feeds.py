"""What each phase reads: segments for pretraining, requests for fine-tuning and evaluation."""

from dataclasses import replace

from pinfm.embeddings.errors import UserError
from pinfm.model.item_ages import SECONDS_PER_DAY
from pinfm.train.config import RunConfig
from pinfm.train.data.dataset import PreparedDataset
from pinfm.train.ids.maps import Ids
from pinfm.train.loader.arrays import RequestArrays, SegmentArrays
from pinfm.train.loader.batches import RequestCollator, SegmentCollator
from pinfm.train.loader.feed import Feed
from pinfm.train.loader.requests import EVERY_REQUEST, Kept, RequestReader, RequestSource
from pinfm.train.loader.segments import SegmentReader, SegmentSource
from pinfm.train.loader.streams import StreamPlan


def segment_feed(config: RunConfig, dataset: PreparedDataset, ids: Ids) -> Feed[SegmentArrays]:
    """The training segments of pretraining, shuffled.

    Raises:
        UserError: the dataset has no positive event.
    """
    items = dataset.item_attributes
    if not items.num_positive_events:
        raise UserError(
            f"{dataset.path} has none of its positive actions {list(dataset.info.schema.positive_actions)} in "
            "training, so there is nothing to learn; prepare it with other --positive-actions."
        )
    # An item of later days can never be a target, and would learn nothing but that.
    catalogue = dataset.known_items()
    return Feed(
        SegmentSource(dataset, config.pretrain.segment_length),
        stream_plan(config, config.pretrain.batch_size),
        SegmentReader(
            config.pretrain,
            catalogue,
            # Every stream draws its part, so that a step's draws do not depend on the number of ranks.
            config.pretrain.num_sampled // config.data_streams if config.pretrain.negatives == "sampled" else 0,
        ),
        SegmentCollator(items, catalogue, ids, dataset.info.schema, config.pretrain.negatives),
    )


# Of samples that are the same in every run, whatever its seed, so that runs can be compared.
SAMPLE_SEED = 0


def sampled_request_feed(config: RunConfig, dataset: PreparedDataset, ids: Ids, split: str) -> Feed[RequestArrays]:
    """The requests of a split for evaluation, in an order whose first steps are a sample of its users.

    Raises:
        UserError: see `request_feed`.
    """
    plan = replace(stream_plan(config, config.finetune.batch_size), seed=SAMPLE_SEED)
    return request_feed(config, dataset, ids, split, training=False, plan=plan)


def request_feed(
    config: RunConfig, dataset: PreparedDataset, ids: Ids, split: str, training: bool, plan: StreamPlan | None = None
) -> Feed[RequestArrays]:
    """The requests of a split: shuffled with candidate id randomisation for training, plain for evaluation.

    Args:
        config: of the run.
        dataset: whose requests are read.
        ids: the maps of the run.
        split: `train`, `validation` or `test`.
        training: see above.
        plan: another order than that.

    Raises:
        UserError: the dataset's histories are shorter than the config's.
    """
    schema, max_history = dataset.info.schema, config.max_history
    if max_history > dataset.info.max_history:
        raise UserError(
            f"max_history is {max_history}, but {dataset.path} gives a request at most {dataset.info.max_history} "
            f"events; lower it, or prepare the dataset with --max-history {max_history}."
        )
    randomization = config.cold_start.candidate_id_randomization if training and config.use_tower else 0.0
    # Without a tower there is no encoding to share, so the shuffle can mix all requests.
    group_size = config.finetune.requests_per_user if config.use_tower else 1
    # The learnable token ends a history, so it belongs to one request.
    shares_histories = training and group_size > 1 and not config.cold_start.learnable_token
    observed: tuple[str, ...] = ("item", "user_id") if training else ()
    if config.use_tower and config.finetune.freeze_tower:
        # A row that was given away could never be trained.
        observed = tuple(name for name in observed if name != "item")
    return Feed(
        RequestSource(
            dataset,
            split,
            max_history=max_history if config.use_tower or config.ranker.history_counts else 0,
            group_size=group_size,
            window_step=max(1, max_history // 4) if shares_histories else 1,
            kept=kept_labels(config, dataset) if split == "train" else EVERY_REQUEST,
        ),
        plan or stream_plan(config, config.finetune.batch_size, training),
        RequestReader(schema, dataset.item_attributes, randomization, not config.cold_start.learnable_token),
        RequestCollator(ids, schema, observed),
    )


def kept_labels(config: RunConfig, dataset: PreparedDataset) -> Kept:
    """The training requests that fine-tuning reads."""
    since = dataset.info.train_end - config.finetune.newest_days * SECONDS_PER_DAY
    return Kept(since=since, share=config.finetune.request_share, seed=config.seed)


def held_out_feed(config: RunConfig, dataset: PreparedDataset, ids: Ids) -> Feed[RequestArrays]:
    """Validation requests; test or else training requests where there are none."""
    feeds = (request_feed(config, dataset, ids, split, training=False) for split in ("validation", "test", "train"))
    return next(feed for feed in feeds if feed.steps_per_epoch)


def stream_plan(config: RunConfig, batch_size: int, shuffle: bool = True) -> StreamPlan:
    """How the run's data is dealt out."""
    return StreamPlan(num_streams=config.data_streams, batch_size=batch_size, seed=config.seed, shuffle=shuffle)
