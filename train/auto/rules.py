"""The rules of `--config auto`, in the order in which they are asked. Change one here, with its measurement.

A rule yields `setting, value, why`. `why` is told to the user, with the dataset's own figure in it; the comment above
says where the value comes from: a table of docs/results.md, or that it was not measured. `settings` holds what is
settled by then: by earlier rules, and by whatever the user said, which no rule overrides (`choices.py`).

Two kinds of data: logs with requests, whose ranker is what counts (`facts.ranks`), and logs of events alone, of which
the next item is all that there is to learn.
"""

from collections.abc import Iterator
from math import ceil
from typing import Any

from pinfm.train.auto.choices import Rule, Settings
from pinfm.train.auto.facts import Facts

Chosen = Iterator[tuple[str, Any, str]]

# Of events a user: histories that a deep and wide tower has something to learn from.
LONG = 50
# Up to so many items a row of one's own costs little: 256 MB at a width of 64.
SMALL_CATALOGUE = 1_000_000
# Training requests, below which a tower is better pretrained. Between 4,100, where it paid, and 81,000: not measured.
FEW_LABELS = 10_000
# Up to so many items a state is compared with all of them: the products cost about as much as the transformer's.
WHOLE_CATALOGUE = 5_000


def streams(facts: Facts, settings: Settings) -> Chosen:
    """How many streams the files are read as; batches are cut into equal shares of them."""
    default = settings["data_streams"]
    fitting = next((number for number in (8, 4, 2) if number <= facts.buckets), 1)
    if facts.buckets < default:
        yield "data_streams", fitting, f"at most one of the dataset's {facts.buckets} buckets each"


def histories(facts: Facts, settings: Settings) -> Chosen:
    """How much of a history is read, and how it is cut in pretraining."""
    # Rankers: 64 in all measured recipes; longer was not measured, and DCAT's cost grows with it. Next item: 200 on
    # MovieLens-1M (results.md, "The tower against the published sequence models"); 400 has not run.
    most = 64 if facts.ranks else 200
    length = min(most, max(16, _up_to(8, facts.longest)))
    yield "max_history", length, f"99 % of the users have up to about {facts.longest:,.0f} events; {most} at most"
    length = max(2, settings["max_history"])
    yield "pretrain.segment_length", length, "what is pretrained on is as long as what is read later"
    # Not measured: half, as in every recipe.
    yield "pretrain.future_anchor_length", max(1, settings["pretrain.segment_length"] // 2), "half of segment_length"


def tower(facts: Facts, settings: Settings) -> Chosen:
    """Width, depth and regularisation of the transformer."""
    told = f"{facts.events:,} training events, {facts.events_mean:,.1f} a user"
    # Rankers: two layers cost four times the time of one and had 0.7483 click AUC on KuaiRand where one has 0.754
    # (results.md, "What was tried on the way"). Next item: three of 128 on MovieLens-1M, 165 events a user. Amazon
    # Toys, 6.6 of them, validation NDCG@10: one GELU layer of 64 0.0689, of 128 0.0649, two SwiGLU layers of 64 0.0722.
    layers = 1 if facts.ranks else 3 if facts.events_mean >= LONG else 2
    dim = 128 if not facts.ranks and facts.events_mean >= LONG and facts.events >= 200_000 else 64
    yield "tower.num_layers", layers, told
    yield "tower.dim", dim, told
    yield "tower.num_heads", _heads(settings["tower.dim"]), "a head of 32 columns or more"
    yield "tower.out_dim", settings["tower.dim"], "as wide as the transformer"
    # Rankers see their labels once: 0.0 in all measured recipes. Next item: 0.3 over 40 epochs of MovieLens-1M, 0.5 on
    # Amazon Toys.
    dropout = 0.0 if facts.ranks else 0.3 if facts.events_mean >= LONG else 0.5
    why = "the ranker sees each label once or a few times" if facts.ranks else "many epochs over few events"
    yield "tower.dropout", dropout, why
    yield "tower.token_dropout", dropout, why
    # MovieLens-1M, 6 epochs: SwiGLU 0.1643 NDCG@10 on validation, GELU 0.1577. Not measured for rankers.
    yield "tower.mlp", "gelu" if facts.ranks else "swiglu", "cheaper" if facts.ranks else "better for the next item"


def time_input(facts: Facts, settings: Settings) -> Chosen:
    """What the tower knows of time."""
    if not facts.tells_time:
        # Gaps that are all alike can't help, and a model that has learnt them is lost where real ones come.
        yield "tower.time", "none", "the log has an order and no times"
        yield "tower.request_time", False, "the log has an order and no times"
        return
    # MovieLens-1M, 6 epochs, NDCG@10 on validation: gaps 0.1643, none 0.1577; told the request's time 0.1756, and a
    # tower that is never told it 0.1595, no better for it. Not measured for rankers, whose recipes leave it out.
    yield "tower.time", "gap", f"times tell more than order, over {facts.span_days:,.1f} days"
    why = "not measured for rankers" if facts.ranks else "costs nothing where the time of a request is not told"
    yield "tower.request_time", not facts.ranks, why


def item_table(facts: Facts, settings: Settings) -> Chosen:
    """How many rows an item's vector is made of, and how many there are."""
    told = f"{facts.items:,} items"
    if not facts.ranks and facts.items <= SMALL_CATALOGUE:
        yield from small_catalogue(facts, settings)
        return
    # Four hashes of 16 in all measured recipes of rankers; from a million items on the paper's eight. Rows as
    # docs/scale.md counts them: one other item at each row, four where the table would be gibibytes (not measured).
    yield "item_table.num_hashes", 4 if facts.items <= 1_000_000 else 8, told
    yield "item_table.dim", 16, f"{16 * settings['item_table.num_hashes']} columns an item"
    crowd = 1 if facts.items <= 10_000_000 else 4
    yield "item_table.rows", max(8_000, _up_to(1_000, facts.items / crowd)), f"{told}, about {crowd} a row"


def small_catalogue(facts: Facts, settings: Settings) -> Chosen:
    """Next items of a small catalogue: for short histories a row an item, and one space for items and states."""
    if facts.events_mean >= LONG:
        # MovieLens-1M, 6 epochs, normalised heads: four hashed rows of 32 in 20,000 have 0.1643 NDCG@10 on validation,
        # one row of 128 0.1491. Tied heads have not run there.
        told = f"{facts.items:,} items, {facts.events_mean:,.1f} training events a user"
        yield "item_table.num_hashes", 4, told
        yield "item_table.dim", 32, "128 columns an item"
        yield "item_table.rows", max(20_000, _up_to(1_000, facts.items)), told
        return
    # Amazon Toys, 6.6 training events a user: hashed rows and normalised heads learn three times as slowly and end a
    # fifth lower (docs/results.md, "The next item on logs that nobody tuned for").
    why = f"{facts.items:,} items: each has a row of its own, which nothing has to project"
    yield "item_table.ids", "managed", why
    yield "item_table.num_hashes", 1, why
    yield "item_table.dim", settings["tower.dim"], "an item's vector is as wide as the tower"
    yield "item_table.rows", facts.items + 1, f"{facts.items:,} items, and a row that later ones share"
    yield "managed_ids.min_count", 0, "the catalogue is known when training starts"
    yield "managed_ids.new_items", "init", "nothing is known of later items"
    width = settings["item_table.num_hashes"] * settings["item_table.dim"]
    fit = width == settings["tower.dim"] == settings["tower.out_dim"]
    yield "tower.heads", "tied" if fit else "normalized_mlp", why if fit else "item vectors and states differ in width"


def feature_tables(facts: Facts, settings: Settings) -> Chosen:
    """Tables of the user id and of categorical features."""
    if facts.ranks:
        # As in all measured recipes; other widths were not measured.
        yield "feature_tables.num_hashes", 2, "two values share a whole vector hardly ever"
        yield "feature_tables.dim", 16, f"{facts.users:,} users"


def negatives(facts: Facts, settings: Settings) -> Chosen:
    """What a target is compared with in pretraining."""
    told = f"{facts.items:,} items"
    if facts.ranks:
        # As in all measured recipes of rankers; others were not measured there.
        yield "pretrain.negatives", "in_batch", "pretraining prepares a ranker, and nothing is cheaper"
    elif facts.items <= WHOLE_CATALOGUE:
        # MovieLens-1M, 6 epochs, NDCG@10 on validation: catalogue 0.1643, in-batch with log-Q 0.1612, in-batch 0.1316.
        yield "pretrain.negatives", "catalogue", f"{told} are few enough to be compared with whole"
    else:
        # Amazon Toys, tied heads: 256 and 1,024 drawn have 0.0649 and 0.0675 validation NDCG@10 after 16 epochs; the
        # whole catalogue took a plain transformer eight times the time of 256.
        yield "pretrain.negatives", "sampled", f"{told} are too many to be compared with whole"
    if settings["pretrain.negatives"] == "sampled":
        drawn = _up_to(settings["data_streams"], 512)
        yield "pretrain.num_sampled", drawn, "an estimate of the whole catalogue's softmax, by log-Q"
    if not facts.ranks:
        in_batch = settings["pretrain.negatives"] == "in_batch"
        yield "pretrain.log_q", in_batch, "popular items are no better" if in_batch else "for in-batch negatives alone"


def pretraining_losses(facts: Facts, settings: Settings) -> Chosen:
    """Weights of the three losses."""
    yield "pretrain.next_token_weight", 1.0, "the loss that the others are measured by"
    if not facts.ranks:
        # MovieLens-1M, 6 epochs, NDCG@10 on validation: next token alone 0.1643, with multi-token 0.1488, with
        # future-token at weight 1 too 0.0852.
        why = "the very next item is what is asked for"
        yield "pretrain.multi_token_weight", 0.0, why
        yield "pretrain.future_token_weight", 0.0, why
        return
    # KuaiRand and MovieLens-1M as ranking: the losses made no difference ("What each part of the fusion adds").
    yield "pretrain.multi_token_weight", 1.0, "as in the paper"
    yield "pretrain.loss_weights", "by_pairs", "the pairs of all losses count alike, as in the paper's sums"
    # By means, at 1, its few pairs outweigh all others (MovieLens-1M, 0.0852 against 0.1457 NDCG@10).
    by_pairs = settings["pretrain.loss_weights"] == "by_pairs"
    weight = 1.0 if by_pairs else round(settings["pretrain.window"] / settings["pretrain.segment_length"], 3)
    yield "pretrain.future_token_weight", weight, "each of its pairs counts like one of the others"
    yield from _next_actions(facts, settings)


def _next_actions(facts: Facts, settings: Settings) -> Chosen:
    # MovieLens-1M, 5 % of the labels, validation, one seed: 0.7591 AUC from scratch, 0.7713 pretrained with this loss
    # (results.md, "Does pretraining pay?").
    early = settings["tower.fusion"] == "early"
    why = "trains how candidates meet the history" if early else "with late fusion candidates do not meet the history"
    yield "pretrain.next_action_weight", 1.0 if early else 0.0, why
    shown = facts.requests.get("train", 0) * facts.candidates
    # Two in the simulator, whose events are clicks, saves and hides; more were not measured.
    unmet = 2 if facts.events < shown and settings["pretrain.next_action_weight"] else 0
    told = f"{facts.events:,} training events of {shown:,.0f} items shown"
    why = f"{told}: they do not tell what was passed over" if unmet else told
    yield "pretrain.unmet_items", unmet, why


def pretraining_length(facts: Facts, settings: Settings) -> Chosen:
    """Batch, epochs and learning rates of pretraining."""
    segments = facts.segments(settings["pretrain.segment_length"])
    told = f"about {segments:,} segments"
    if facts.ranks:
        # 64 and two epochs in the recipes; four times longer gained nothing on MovieLens-1M.
        size = _batch(settings, segments / 200, 64)
        yield "pretrain.batch_size", size, told
        steps = ceil(segments / settings["pretrain.batch_size"])
        epochs = min(10, max(2, ceil(400 / max(1, steps))))
        yield "pretrain.epochs", epochs, f"{steps:,} steps an epoch, 400 at the least"
        table_lr = 0.2
    else:
        # 32 of up to 200 events over 40 epochs on MovieLens-1M; about as many events a step elsewhere: not measured.
        length = min(facts.events_mean, settings["pretrain.segment_length"])
        size = _batch(settings, min(segments / 50, 1_024 / max(1.0, length)), 128)
        yield "pretrain.batch_size", size, f"{told} of about {length:,.0f} events"
        steps = ceil(segments / settings["pretrain.batch_size"])
        # MovieLens-1M hardly gains after 30 epochs; Amazon Toys still does after 40 (158 steps), LastFM after 40 of 42.
        epochs = 40 if facts.events_mean >= LONG else min(200, max(60, ceil(5_000 / max(1, steps))))
        ends = "validation ends it before" if facts.judges_next_items else "validation has too few events to end it"
        yield "pretrain.epochs", epochs, f"of {steps:,} steps, at most: {ends}"
        # MovieLens-1M: 0.2 has 0.2512 HR@10 after 3 epochs, 0.05 has 0.2606.
        table_lr = 0.05
        if facts.judges_next_items:
            yield "pretrain.validation.per_epoch", 0.5, "sparse logs are learnt by heart sooner or later"
            yield "pretrain.validation.patience", 10, "evaluations without a better one end it"
    yield "pretrain.optimizer.dense_lr", 0.001, "as in every recipe"
    yield (
        "pretrain.optimizer.table_lr",
        table_lr,
        "measured on MovieLens-1M" if not facts.ranks else "as in the recipes",
    )
    yield "pretrain.optimizer.decay", "cosine", "ends better than a constant rate"
    total = steps * settings["pretrain.epochs"]
    yield "pretrain.optimizer.warmup_steps", min(100, total // 20), f"a twentieth of {total:,} steps at most"


def cold_start(facts: Facts, settings: Settings) -> Chosen:
    """Techniques for items that training has not seen: on where they will be met."""
    if not facts.ranks:
        return
    arrive, why = _arrivals(facts)
    # Pretraining has met every item that training labels, so that an unknown id looks like a negative. Counters in each
    # row, with it over without, AUC: MovieTweetings +0.0209 (seed 0; HIT@3 of unseen films 0.315 to 0.756), slates
    # +0.0053, 8 hours +0.0028, four events a user 0.0002 (three seeds). KuaiRand has no new items.
    yield "cold_start.candidate_id_randomization", 0.1 if arrive else 0.0, why
    arrive, why = _new_to_the_ranker(facts)
    # MovieTweetings, HIT@3 of films under a week: 0.04 to 0.28, all films 0.259 to 0.269 (results.md, "Cold start").
    ages = arrive and facts.tells_time
    yield "cold_start.dropout_young", 0.7 if ages else 0.0, why
    yield "cold_start.dropout_middle", 0.5 if ages else 0.0, why
    fuse, why = _content_tells(facts) if arrive else (False, why)
    if settings["tower.fusion"] != "early":
        fuse, arrive, why = False, False, f"off: fusion {settings['tower.fusion']} has no candidate token"
    yield "cold_start.content_fusion", fuse, why
    # Measured together with content fusion (simulated world); alone: not measured.
    yield "cold_start.learnable_token", fuse, "goes with content fusion" if fuse else why
    # Costs new items on the validation days of the simulated world.
    yield "cold_start.alignment_weight", 0.0, "gained nothing where it was measured"


def ranker(facts: Facts, settings: Settings) -> Chosen:
    """What the ranker reads beside the tower's output."""
    if facts.ranks:
        # KuaiRand click AUC 0.7272 to 0.7508, MovieLens-1M 0.7490 to 0.7741, both without a tower.
        yield "ranker.history_counts", True, "what a user did so far, counted, is the strongest plain feature"
        # docs/results/interactions.md: none is better beyond the spread over retraining.
        yield "ranker.interaction", "dcn_v2", "no form was better beyond noise"
        yield from _tower_path(facts)


def _tower_path(facts: Facts) -> Chosen:
    """What is said of pretraining too: there is no better place where who fine-tunes without it would read it."""
    requests = facts.requests["train"]
    if facts.counters and facts.lives_hours:
        yield "ranker.tower_path", False, "items live hours: not measured, nor whether pretraining pays"
    elif requests < FEW_LABELS and _arrivals(facts)[0]:
        # Four events a user, counters, 5,181 requests, seeds 0 and 1: HIT@3 of young items 0.608 and 0.613 with it,
        # 0.642 and 0.654 without; AUC 0.6026 and 0.5990, 0.6040 and 0.6003.
        why = f"{requests:,} training requests are few: pretraining pays; but of new items what it learns misleads"
        yield "ranker.tower_path", False, why
    elif requests < FEW_LABELS:
        # MovieLens-1M, 4,100 requests, as above: 0.7733 with it. In the simulator, 1,600 requests, it adds nothing to a
        # tower from scratch (0.5554 click AUC, 0.5514 without it), and makes 0.582 of a pretrained one.
        why = (
            f"{requests:,} training requests are few: pretraining pays, and this takes along what it learns of actions"
        )
        yield "ranker.tower_path", True, why
    else:
        # All labels, without that loss: 0.7539 click AUC pretrained, 0.7529 from scratch on KuaiRand; 0.7868 and 0.7878
        # on MovieLens-1M.
        why = f"{requests:,} training requests: with so many, pretraining did not pay (0.001 AUC either way)"
        yield "ranker.tower_path", False, why


def finetuning_length(facts: Facts, settings: Settings) -> Chosen:
    """Batch, epochs and learning rates of fine-tuning."""
    if not facts.ranks:
        size = settings["finetune.batch_size"]
        if size % settings["data_streams"]:
            yield "finetune.batch_size", _up_to(settings["data_streams"], size), "equal shares of data_streams"
        return
    requests = round(facts.requests["train"] * settings["finetune.request_share"])
    # The recipes: 256 on KuaiRand (1.2 candidates), 128 in worlds of 10 to 20, 64 on MovieLens-1M. Smaller where an
    # epoch would have few steps. 7,891 requests of items that live 8 hours, recipe kuairand, counters, seed 0, at 256
    # and at 32 a step: AUC without a tower 0.7290, 0.7481, fused 0.7243, 0.7475; HIT@3 of items under a day 0.7895,
    # 0.8318 and 0.7785, 0.8250. What a short training leaves half random costs new items most; a tower is more of it.
    # More epochs too: 2,596 requests of news, validation, seed 0, 32 and four epochs 0.8120 click AUC, 128 and one
    # 0.7940 (results.md, "What is happening to an item now").
    size = _batch(settings, requests / 500, 256 if facts.candidates < 4 else 128)
    yield "finetune.batch_size", size, f"{requests:,} training requests of {facts.candidates:,.1f} candidates"
    # The same log, fused, 32 requests of 4 users or of 32: NE 0.8574, 0.8565, AUC 0.7478, 0.7484. Larger batches have
    # users enough, and histories that requests share save time there.
    apart = settings["finetune.batch_size"] < 128
    yield "finetune.requests_per_user", 1 if apart else 8, "many users a step" if apart else "they share a history"
    steps = ceil(requests / settings["finetune.batch_size"])
    # One epoch in every recipe.
    epochs = min(5, max(1, ceil(250 / max(1, steps))))
    yield "finetune.epochs", epochs, f"{steps:,} steps an epoch, 250 at the least"
    if settings["finetune.epochs"] > 1 and facts.judges_rankers:
        yield "finetune.validation.per_epoch", 1.0, "labels that are seen again are soon learnt by heart"
        yield "finetune.validation.patience", 2, "epochs without a better one end it"
    yield from _finetuning_rates(facts)
    total = steps * settings["finetune.epochs"]
    yield "finetune.optimizer.warmup_steps", min(50, total // 20), f"a twentieth of {total:,} steps at most"


def _finetuning_rates(facts: Facts) -> Chosen:
    if facts.counters and facts.lives_hours:
        # A log of three days, NE of click: the recipe news 0.81 to 0.83, cold_start 0.98 to 1.02 (results.md, "What is
        # happening to an item now").
        why = "items live hours: what an id was worth misleads, what counters say does not"
        yield "finetune.optimizer.dense_lr", 0.003, why
        yield "finetune.optimizer.table_lr", 0.01, why
    else:
        # KuaiRand, no tower, validation: table_lr 0.05 / 0.1 / 0.2 have 0.7334 / 0.7346 / 0.7354 click AUC.
        yield "finetune.optimizer.dense_lr", 0.001, "as in the recipes"
        yield "finetune.optimizer.table_lr", 0.2, "measured on KuaiRand"
    # KuaiRand, validation: 1.0 0.7582, 0.3 0.7564, frozen 0.7378 click AUC.
    yield "finetune.optimizer.pretrained_lr_scale", 1.0, "the paper's tenth is for far more data"
    yield "finetune.optimizer.decay", "cosine", "ends better than a constant rate"


RULES: tuple[Rule, ...] = (
    streams,
    histories,
    tower,
    time_input,
    item_table,
    feature_tables,
    negatives,
    pretraining_losses,
    pretraining_length,
    cold_start,
    ranker,
    finetuning_length,
)


def _arrivals(facts: Facts) -> tuple[bool, str]:
    """Whether the model will meet items that training has not seen, and how that is known."""
    if facts.unseen is None:
        return True, "whether items are new at serving is not known of data that an older pinfm prepared"
    # 2.2 % on MovieTweetings, where it pays; 0 on KuaiRand. Where it begins to pay: not measured.
    told = f"{facts.unseen:.1%} of what validation shows are items that training has not"
    return facts.unseen >= 0.01, told if facts.unseen >= 0.01 else f"off: {told}"


def _new_to_the_ranker(facts: Facts) -> tuple[bool, str]:
    """Whether there will be items of which the ranker knows nothing but that they are new, and how that is known."""
    arrive, why = _arrivals(facts)
    if not (arrive and facts.counters):
        return arrive, why
    # Simulated, counters of the item in every row, steps enough, seed 0; HIT@3 of click over all items / of young ones.
    # Items live weeks: no tower 0.8330 / 0.6164, fused without technique 0.8476 / 0.6257, with random ids and dropout
    # 0.8363 / 0.6204, with content and token too 0.8409 / 0.6058. They live 8 hours: 0.8985 / 0.8250 without, 0.8985 /
    # 0.8242 with.
    return False, "off: live counters tell what a new item is worth, and random ids that it is new"


def _content_tells(facts: Facts) -> tuple[bool, str]:
    """Whether content vectors stand in for ids that are new."""
    if not facts.content_dim:
        return False, "off: items have no content vectors"
    told = facts.items if facts.contents is None else facts.contents
    # Simulated world, a vector an item: HIT@3 of save under 7 days 0.39 to 0.52. MovieTweetings, genres, 1,690 vectors
    # for 22,438 films: nothing, and 0.008 less over all films.
    if told < 0.5 * facts.items:
        return False, f"off: {told:,} different vectors do not tell {facts.items:,} items apart"
    return True, f"{told:,} different vectors tell {facts.items:,} items apart"


def _heads(dim: int) -> int:
    return next((heads for heads in (8, 4, 2) if dim % (2 * heads) == 0 and dim // heads >= 32), 1)


def _batch(settings: Settings, wanted: float, most: int) -> int:
    """The largest power of two from 32 to `most` that is not above `wanted`, in equal shares of the streams."""
    size = next((size for size in (256, 128, 64) if size <= min(wanted, most)), 32)
    return _up_to(settings["data_streams"], size)


def _up_to(unit: int, value: float) -> int:
    return unit * ceil(value / unit)
