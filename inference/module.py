"""The exported module: raw ids in, one probability per candidate and task out. Written for TorchScript.

history ── encode ──> Encoded ─┬─ user_vectors ──> what retrieval compares with catalogue_vectors
                               └─ score_encoded ─> what `forward`, which is both steps at once, gives

U  requests     T  events of all histories     N  candidates of all requests
V  items        O  width of the vectors that retrieval compares
"""

from collections.abc import Mapping
from typing import Optional

import torch
from torch import Tensor, nn

from pinfm.embeddings.module_list import module_list
from pinfm.embeddings.one_device.served import ServedTable
from pinfm.inference.encoded import Encoded
from pinfm.inference.requests.checks import InputChecks
from pinfm.model.inputs import Candidates, History, own_histories
from pinfm.model.ranking.adapted import AdaptedRanker
from pinfm.model.ranking.joint import FusedRanker, PlainRanker, RankingInputs
from pinfm.model.ranking.ranker import RankerFeatures, add_request_dense
from pinfm.model.schema import SURFACE, InputSchema


class ScoringModule(nn.Module):
    """Lookups and the dense model behind one dictionary of tensors.

    Args:
        model: the very module that was trained.
        item_tables: item ids -> vectors.
        feature_tables: one lookup per categorical feature; `user_id` among them.
        schema: tasks and features.
        checks: of its inputs.
        dense_dtype: what the dense model computes in; its parameters are brought to it. The tables stay as they are.
    """

    # TorchScript reads the types of empty lists here, and only here.
    tasks: list[str]
    request_names: list[str]
    candidate_names: list[str]
    request_dense: list[str]
    candidate_dense: list[str]
    # What `place` is to be given, field by field as `TableFile` has it: for hosts that read no manifest.
    table_files: list[tuple[str, str, int, int, str, int]]

    def __init__(
        self,
        model: FusedRanker | PlainRanker | AdaptedRanker,
        item_tables: ServedTable,
        feature_tables: Mapping[str, ServedTable],
        schema: InputSchema,
        checks: InputChecks,
        dense_dtype: torch.dtype = torch.float32,
    ) -> None:
        super().__init__()
        self.model, self.item_tables = model, item_tables
        self.dense_dtype = dense_dtype
        for parameter in model.parameters():  # not the buffers: dense features are normalised in float32
            parameter.data = parameter.data.to(dense_dtype)
        self.tasks, self.table_files = list(schema.tasks), []
        self.content_dim, self.has_surface = schema.content_dim, schema.has_request_surface
        # TorchScript sees no constants of a module.
        self.surface = SURFACE
        self.checks = checks
        # For hosts that read no JSON.
        self.has_tower = not isinstance(model, PlainRanker)
        self.item_ids: str = schema.id_type("item_id")
        request = ["user_id"] + [f.name for f in schema.of("categorical", "request")]
        candidate = [f.name for f in schema.of("categorical", "candidate")]
        # Lists: as a ModuleDict's keys, features called `type` or `keys` would shadow attributes of a module.
        self.request_names, self.candidate_names = request, candidate
        self.request_tables = module_list(feature_tables[name] for name in request)
        self.candidate_tables = module_list(feature_tables[name] for name in candidate)
        self.request_dense = [f.name for f in schema.of("dense", "request")]
        self.candidate_dense = [f.name for f in schema.of("dense", "candidate")]
        self.feature_dim = next(iter(feature_tables.values())).dim

    def forward(self, inputs: dict[str, Tensor]) -> dict[str, Tensor]:
        """Scores every candidate.

        Args:
            inputs: see signature.json. int64: `user_id`, `request_timestamp`, `history_lengths`, `candidate_lengths`
                (U,), `history_{item_id,action,surface,timestamp}` (T,), `candidate_{item_id,created_at}` (N,);
                categorical features int64 and dense features float32, (U,) for request scope and (N,) for candidate
                scope, `surface` among the former where requests have one; `candidate_content` float32 (N, K) where
                items have content vectors.

        Returns:
            Task -> probabilities (N,) float32.

        Raises:
            ValueError: an input is missing, of another type or size, or holds a value that training can't have seen.
        """
        problem = self.checks(inputs, 0)
        if problem != "":
            raise ValueError(problem)
        return self._scores(self._encoded(inputs), inputs)

    @torch.jit.export
    def encode(self, inputs: dict[str, Tensor]) -> Encoded:
        """Encodes histories once, for `score_encoded`, `user_vectors` and whatever comes after them.

        Args:
            inputs: the histories among those of `forward`: `history_lengths` and all `history_*`.

        Returns:
            As much as all stages read of them; `forward` is `score_encoded` of it, bit for bit.

        Raises:
            ValueError: as `forward`, about histories.
        """
        problem = self.checks.to_encode(inputs)
        if problem != "":
            raise ValueError(problem)
        return self._encoded(inputs)

    @torch.jit.export
    def score_encoded(self, encoded: Encoded, inputs: dict[str, Tensor]) -> dict[str, Tensor]:
        """Scores candidates against encoded histories: page after page, or stage after stage of a funnel.

        Args:
            encoded: from `encode`.
            inputs: those of `forward` but for the histories, of the same U requests; a request may be made later than
                its history was encoded.

        Returns:
            As `forward`.

        Raises:
            ValueError: as `forward`, about requests and candidates, or these are not of as many requests.
        """
        problem = self.checks.to_score(inputs, encoded.history.lengths, encoded.history.timestamp)
        if problem != "":
            raise ValueError(problem)
        return self._scores(encoded, inputs)

    @torch.jit.export
    def user_vectors(self, encoded: Encoded, inputs: dict[str, Tensor]) -> Tensor:
        """What retrieval compares with `catalogue_vectors`, by inner product: the state after each user's newest event.

        Args:
            encoded: from `encode`.
            inputs: `request_timestamp` (U,) int64, which a tower with `request_time` is told.

        Returns:
            (U, O) float32; zeros for an empty history, or one of which an adapted model trusts nothing.

        Raises:
            ValueError: as `score_encoded`, about the times, or the model has no tower.
        """
        problem = self.checks.to_retrieve(inputs, encoded.history.lengths, encoded.history.timestamp)
        if problem != "":
            raise ValueError(problem)
        vectors_UO: Tensor = self.model.user_vectors(encoded.context, encoded.read, inputs["request_timestamp"]).float()
        return vectors_UO

    @torch.jit.export
    def catalogue_vectors(self, ids_V: Tensor) -> Tensor:
        """What retrieval compares users with.

        Args:
            ids_V: int64 item ids.

        Returns:
            (V, O) float32, psi of the items' vectors.

        Raises:
            ValueError: the model has no tower.
        """
        vectors_VO: Tensor = self.model.catalogue_vectors(self.item_tables(ids_V).to(self.dense_dtype)).float()
        return vectors_VO

    @torch.jit.export
    def place(self, name: str, rows: Tensor) -> None:
        """Gives a sub-table its rows, where they are not in the module's file.

        Args:
            name: of the sub-table, as the manifest's `tables` has it.
            rows: its file's values, (rows, columns).
        """
        self.item_tables.place(name, rows)
        for table in self.request_tables:
            table.place(name, rows)
        for table in self.candidate_tables:
            table.place(name, rows)

    @torch.jit.export
    def item_vectors(self, ids_N: Tensor) -> Tensor:
        """int64 item ids (N,) -> (N, E), the vectors that history and candidates are made of."""
        vectors: Tensor = self.item_tables(ids_N)
        return vectors

    @torch.jit.export
    def looked_up(self, inputs: dict[str, Tensor]) -> dict[str, Tensor]:
        """What the dense model reads, for one that is computed elsewhere (`inference/aoti/`).

        Args:
            inputs: as of `forward`.

        Returns:
            `history_lengths`, `candidate_lengths` (U,); `event_item` (T, E), `event_action`, `event_surface`,
            `event_gap` (T,); `request_gap`, `request_surface` (U,); `item` (N, E), `content` (N, K); and the fields of
            `RankerFeatures`, with what the ranker counts in histories among `request_dense`.

        Raises:
            ValueError: as `forward`, or the model adapts histories.
        """
        problem = self.checks(inputs, 0)
        if problem != "":
            raise ValueError(problem)
        history, now_U = _history(inputs), inputs["request_timestamp"]
        event_gap, request_gap, counts_UM = self.model.times_and_counts(history, now_U)
        features = add_request_dense(self._features(inputs), counts_UM)
        return {
            "history_lengths": history.lengths,
            "candidate_lengths": inputs["candidate_lengths"],
            "event_item": self.item_tables(history.item_id).to(self.dense_dtype),
            "event_action": history.action,
            "event_surface": history.surface,
            "event_gap": event_gap,
            "request_gap": request_gap,
            "request_surface": inputs[self.surface] if self.has_surface else torch.zeros_like(now_U),
            "item": self.item_tables(inputs["candidate_item_id"]).to(self.dense_dtype),
            "content": self._content(inputs),
            "request_vectors": features.request_vectors,
            "candidate_vectors": features.candidate_vectors,
            "request_dense": features.request_dense,
            "candidate_dense": features.candidate_dense,
        }

    @torch.jit.export
    def has_row(self, ids_N: Tensor) -> Tensor:
        """int64 item ids (N,) -> (N,) bool, which of them the tables tell apart from unknown ones."""
        has_N: Tensor = self.item_tables.has_row(ids_N)
        return has_N

    @torch.jit.export
    def trust(self, inputs: dict[str, Tensor]) -> Tensor:
        """How far each event of the histories is trusted.

        Args:
            inputs: as of `forward`.

        Returns:
            (T,) float32 in [0, 1].

        Raises:
            ValueError: as `forward`, or the model weighs no events.
        """
        problem = self.checks(inputs, 0)
        if problem != "":
            raise ValueError(problem)
        # TorchScript answers each of the two as it compiles, and leaves out what isn't there.
        if hasattr(self.model, "adaptation"):  # noqa: SIM102
            if hasattr(self.model.adaptation, "trust"):
                history = _history(inputs)
                vectors = self.item_tables(history.item_id).to(self.dense_dtype)
                weights_T: Tensor = self.model.adaptation.trust(history, vectors)  # type: ignore[operator]
                return weights_T
        raise ValueError("the model weighs no events; export it with --adapt trust.")

    def _encoded(self, inputs: dict[str, Tensor]) -> Encoded:
        history = _history(inputs)
        read, context = self.model.encode(history, self.item_tables(history.item_id).to(self.dense_dtype))
        return Encoded(history, read, context)

    def _scores(self, encoded: Encoded, inputs: dict[str, Tensor]) -> dict[str, Tensor]:
        item_ids = inputs["candidate_item_id"]
        surface: Optional[Tensor] = None  # noqa: UP045
        if self.has_surface:
            surface = inputs[self.surface]
        candidates = Candidates(
            inputs["candidate_lengths"],
            inputs["request_timestamp"],
            item_ids,
            inputs["candidate_created_at"],
            self._content(inputs),
            surface,
        )
        item_NE = self.item_tables(item_ids).to(self.dense_dtype)
        asked = RankingInputs(
            encoded.read,
            candidates,
            item_NE[:0],  # the events' were read by `encode`
            item_NE,
            self._features(inputs),
            own_histories(encoded.read.lengths),
        )
        probabilities = torch.sigmoid(self.model.score_encoded(encoded.context, asked).float())
        return {task: probabilities[:, i] for i, task in enumerate(self.tasks)}

    def _content(self, inputs: dict[str, Tensor]) -> Tensor:
        item_ids = inputs["candidate_item_id"]
        content = torch.zeros([item_ids.size(0), 0], device=item_ids.device)
        if self.content_dim > 0:
            content = inputs["candidate_content"]
        return content.to(self.dense_dtype)

    def _features(self, inputs: dict[str, Tensor]) -> RankerFeatures:
        request_vectors: list[Tensor] = []
        for i, table in enumerate(self.request_tables):
            request_vectors.append(table(inputs[self.request_names[i]]))
        num_candidates = inputs["candidate_item_id"].size(0)
        candidate_vectors = torch.zeros(
            [num_candidates, 0, self.feature_dim], device=inputs["candidate_item_id"].device
        )
        for i, table in enumerate(self.candidate_tables):
            vectors = table(inputs[self.candidate_names[i]])
            candidate_vectors = torch.cat([candidate_vectors, vectors[:, None, :]], dim=1)
        return RankerFeatures(
            torch.stack(request_vectors, dim=1).to(self.dense_dtype),
            candidate_vectors.to(self.dense_dtype),
            _columns(inputs, self.request_dense, inputs["user_id"].size(0)),
            _columns(inputs, self.candidate_dense, num_candidates),
        )


def _history(inputs: dict[str, Tensor]) -> History:
    return History(
        inputs["history_lengths"],
        inputs["history_item_id"],
        inputs["history_action"],
        inputs["history_surface"],
        inputs["history_timestamp"],
    )


def _columns(inputs: dict[str, Tensor], names: list[str], num_rows: int) -> Tensor:
    """(rows, number of names) float32."""
    block = torch.zeros([num_rows, len(names)], device=inputs["user_id"].device)
    for i, name in enumerate(names):
        block[:, i] = inputs[name]
    return block
