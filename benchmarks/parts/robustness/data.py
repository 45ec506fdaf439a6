"""The datasets that histories are attacked on, and how a model of each is trained."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from benchmarks.parts.quality.runs import Command, Runs, prepared
from pinfm.train.data.sources.films.movielens import MovieLens
from pinfm.train.data.sources.kuairand import KuaiRand
from pinfm.train.data.sources.simulate import Simulate

# Losses that defences read and no recipe pretrains with: small, so that the other three lead.
PRETRAINED = ("--pretrain.masked_event_weight", "0.3", "--pretrain.contrastive_weight", "0.1")
COUNTS = ("--ranker.history_counts", "true")
NOTHING_NEW = (
    *("--cold_start.candidate_id_randomization", "0", "--cold_start.content_fusion", "false"),
    *("--cold_start.dropout_young", "0", "--cold_start.dropout_middle", "0"),
    *("--cold_start.learnable_token", "false"),
)
# In units of a history's own vectors, as the attacks' and the defences' radii are.
ADVERSARIAL_RADIUS = "0.3"
# What each run adds to its dataset's own flags.
TRAININGS = {"plain": (), "adversarial": ("--finetune.adversarial_radius", ADVERSARIAL_RADIUS)}


@dataclass(frozen=True, kw_only=True)
class Dataset:
    """One of them.

    Args:
        recipe: a shipped one.
        make: the folder of the files, and the folder to write -> the prepared dataset.
        flags: of both verbs, beside the recipe.
        newest_days: of the training requests that are read.
        requests: that are attacked; the fewer candidates they have, the more of them.
        in_folder: whether its files are in a folder of the user's.
    """

    recipe: str
    make: Callable[[Path | None, Path], Path]
    flags: tuple[str, ...]
    newest_days: int
    requests: int
    in_folder: bool = False


def _movielens(files: Path | None, out: Path) -> Path:
    assert files is not None
    # Most users rate all their films in one sitting; a longer pause would leave them one request and no history.
    return prepared(MovieLens(path=files, request_gap_minutes=1), out)


def _simulator(_: Path | None, out: Path) -> Path:
    # Each item is shown some thousand times, so that a tower can learn it.
    return prepared(Simulate(num_users=2000, num_items=1000, requests_per_user=60, content_dim=0), out)


DATASETS = {
    "kuairand": Dataset(
        recipe="kuairand",
        make=lambda _, out: prepared(KuaiRand(), out),
        flags=COUNTS,
        newest_days=5,
        requests=800,
    ),
    "ml1m_ranking": Dataset(
        recipe="ml1m_ranking", make=_movielens, flags=COUNTS, newest_days=60, requests=150, in_folder=True
    ),
    "simulator": Dataset(
        recipe="cold_start", make=_simulator, flags=(*COUNTS, *NOTHING_NEW), newest_days=30, requests=600
    ),
}


@dataclass(frozen=True, kw_only=True)
class Models:
    """The runs of one dataset; those of a seed start from one pretraining run.

    Args:
        runs: where.
        name: of the dataset.
        data: prepared.
        flags: of both verbs beside the dataset's own, to make them smaller.
    """

    runs: Runs
    name: str
    data: Path
    flags: tuple[str, ...] = ()

    def train(self, seed: int) -> dict[str, Path]:
        """Trains what is missing.

        Returns:
            The folder of each of `TRAININGS`.
        """
        self.runs.train(f"pretrained-{seed}", self._pretraining(seed))
        return {name: self.runs.train(f"{name}-{seed}", self._finetuning(name, seed)) for name in TRAININGS}

    def told(self) -> list[str]:
        """What makes the runs of any seed, for the page's JSON."""
        made = [self._pretraining(0), *(self._finetuning(name, 0) for name in TRAININGS)]
        return [command.told().replace(" --seed 0", "") for command in made]

    def _pretraining(self, seed: int) -> Command:
        dataset = DATASETS[self.name]
        words = ("--data", self.data, "--seed", seed, *dataset.flags, *PRETRAINED, *self.flags)
        return Command("pretrain", dataset.recipe, words)

    def _finetuning(self, training: str, seed: int) -> Command:
        dataset = DATASETS[self.name]
        start = ("--pretrained", self.runs.folder(f"pretrained-{seed}"))
        days = ("--finetune.newest_days", str(dataset.newest_days))
        words = ("--data", self.data, "--seed", seed, *dataset.flags, *days, *TRAININGS[training], *self.flags, *start)
        return Command("finetune", dataset.recipe, words)
