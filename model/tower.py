"""`SequenceTower`: the pretrained tower with its item tables, for a ranker of your own."""

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from torch import Tensor, nn

from pinfm.embeddings.errors import UserError
from pinfm.embeddings.one_device.forks import require_own_threads
from pinfm.embeddings.one_device.lookup import MultiHashEmbedding
from pinfm.model.adaptation.adapted import AdaptedVectors, TrustedEvents, build_adaptation
from pinfm.model.adaptation.config import TrustConfig, VectorAdaptationConfig
from pinfm.model.adaptation.reference import make_reference
from pinfm.model.dcat import Context
from pinfm.model.encoder import SequenceEncoder, build_encoder
from pinfm.model.inputs import Candidates, History
from pinfm.model.stored.run_folder import ITEM_TABLES, RunFolder
from pinfm.model.stored.weights import read_id_map, read_weights


class EncodedHistory(NamedTuple):
    """Histories encoded once, to be scored against again and again: a user's KV cache.

    Args:
        history: T events of U requests; of a tower that drops events, those that it kept.
        context: what the transformer keeps of them.
    """

    history: History
    context: Context

    def num_bytes(self) -> int:
        """Memory that it holds."""
        tensors = [*self.history, self.context.lengths, self.context.rows, *self.context.keys, *self.context.values]
        # History and context may share a tensor.
        return sum({tensor.data_ptr(): tensor.nbytes for tensor in tensors}.values())


class SequenceTower(nn.Module):
    """Raw ids in, one feature vector per candidate out.

    Args:
        item_embedding: ids (N,) int64 -> vectors (N, E); any lookup of your own will do.
        encoder: the dense part.
        adaptation: what is done about histories that somebody tampered with, see `adapted`; nothing where None.

    Example:
        tower = SequenceTower.from_run("runs/pretrain")
        features = tower(history, candidates)

        cached = tower.encode_context(history)
        first_page, second_page = tower.score(cached, candidates), tower.score(cached, more_candidates)
    """

    def __init__(
        self,
        item_embedding: nn.Module,
        encoder: SequenceEncoder,
        adaptation: AdaptedVectors | TrustedEvents | None = None,
    ) -> None:
        super().__init__()
        self.item_embedding = item_embedding
        self.encoder = encoder
        self.adaptation = adaptation

    def forward(self, history: History, candidates: Candidates) -> Tensor:
        """The candidates' features.

        Args:
            history: T events of U requests.
            candidates: N candidates of the same requests, grouped by request.

        Returns:
            (N, out_dim) float32, differentiable; row i belongs to candidates.item_id[i].
        """
        return self.score(self.encode_context(history), candidates)

    def encode_context(self, history: History) -> EncodedHistory:
        """Encodes histories once, for `score`; where the tower adapts them, adapted.

        Args:
            history: T events of U requests.

        Raises:
            UserError: this process was forked from one that has scored.
        """
        require_own_threads()
        item_TE = self.item_embedding(history.item_id)
        if self.adaptation is not None:
            return EncodedHistory(*self.adaptation(history, item_TE))
        return EncodedHistory(history, self.encoder.encode_context(history, item_TE))

    def score(self, encoded: EncodedHistory, candidates: Candidates) -> Tensor:
        """The features of candidates against encoded histories: page after page, or stage after stage of a funnel.

        Args:
            encoded: from `encode_context`, of the same U requests.
            candidates: N candidates of these requests, grouped by request; a request may have none.

        Returns:
            (N, out_dim) float32: bit for bit what `forward` gives for the same candidates. Scored a page at a time they
            differ by rounding, because a product of fewer rows adds up in another order.

        Raises:
            UserError: this process was forked from one that has scored.
        """
        require_own_threads()
        item_NE = self.item_embedding(candidates.item_id)
        return self.encoder.cross(encoded.context, encoded.history, candidates, item_NE)

    def adapted(
        self, config: VectorAdaptationConfig | TrustConfig, histories: History, positive_codes: Sequence[int]
    ) -> "SequenceTower":
        """A tower that does something about histories that somebody tampered with; `score` costs no more than before.

        Args:
            config: of the form of adaptation.
            histories: of many users, which a history is held against: `pinfm.inference.adaptation.reference` makes
                those that `pinfm export` takes.
            positive_codes: actions that count as engagement, as `InputSchema.positive_codes` has them.

        Returns:
            The tower in evaluation mode; it shares its modules with this one.
        """
        self.eval()
        reference = make_reference(self.encoder, histories, self.item_embedding(histories.item_id), positive_codes)
        return SequenceTower(
            self.item_embedding, self.encoder, build_adaptation(self.encoder, reference, config)
        ).eval()

    @classmethod
    def from_run(cls, path: str | Path, checkpoint: Path | None = None) -> "SequenceTower":
        """The tower of a pretraining or fine-tuning run.

        Args:
            path: the run folder.
            checkpoint: one of its `checkpoints/step-*`; where None the best on validation, or the newest of a run that
                was not evaluated while it trained.

        Returns:
            The tower in training mode, on the CPU, with the whole item tables.

        Raises:
            UserError: the folder holds no run, no checkpoint, or a run without a tower.
        """
        run = RunFolder.open(path)
        if not run.model.use_tower:
            raise UserError(f"{path} was trained with use_tower: false, so it has no tower; give another run.")
        item_embedding = MultiHashEmbedding(run.item_table)
        encoder = build_encoder(run.model, run.schema, run.item_table.num_hashes * run.item_table.dim)
        rows = item_embedding.embeddings
        rows.load_state_dict(read_weights(run, rows, f"{ITEM_TABLES}.embeddings.", checkpoint))
        if run.item_table.ids == "managed":
            item_embedding.find.place(*read_id_map(run, run.item_table, checkpoint))
        encoder.load_state_dict(read_weights(run, encoder, "objective.model.encoder.", checkpoint))
        return cls(item_embedding, encoder)
