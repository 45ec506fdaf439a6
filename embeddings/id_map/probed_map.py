"""The map that hashes ids to places and probes from there, on TorchRec's MPZCH: changes need a GPU, lookups do not.

An id stands in the first free one of the `MAX_PROBE` places from its hash on. Where all of them are taken, about the
least recently seen id of them makes room, if it was seen long enough ago; else the new one goes on waiting. The map is
in host memory, so that lookups wait for no GPU; a change copies it there and back.

Threads of a GPU race for places, so each rank would have a map of its own: all take the first rank's. The same run made
twice, or with another number of ranks, need not have the same map.
"""

from collections.abc import Callable

import torch
from torch import Tensor, nn

from pinfm.embeddings.errors import UserError
from pinfm.embeddings.rows import NO_ID
from pinfm.embeddings.sharded.versions import require_tested_versions
from pinfm.embeddings.specs import ManagedIdsConfig

require_tested_versions()

from torchrec.modules.hash_mc_evictions import HashZchEvictionConfig, HashZchEvictionPolicyName  # noqa: E402
from torchrec.modules.hash_mc_modules import HashZchManagedCollisionModule  # noqa: E402
from torchrec.sparse.jagged_tensor import JaggedTensor  # noqa: E402

MAX_PROBE = 128
# fbgemm's mark of a free place.
FREE = -1
# Ids are kept with this bit turned: so the one id that looks like a free place is NO_ID, which never has a row.
SIGN_BIT = torch.iinfo(torch.int64).min
# Where maps change: the only kernel of fbgemm that does is CUDA's.
DEVICE = torch.device("cuda")


class ProbedMap:
    """Ids at the places of their hashes; of R rows, P = R - 1 are places.

    Args:
        num_rows: of the table; the last one is the fallback.
        config: eviction, `lru` or `time_to_live`.
        from_first_rank: what the first rank has, for every rank.
    """

    def __init__(self, num_rows: int, config: ManagedIdsConfig, from_first_rank: Callable[[Tensor], Tensor]) -> None:
        self._fallback, self._from_first_rank = num_rows - 1, from_first_rank
        # Changes without being seen after which an id may be evicted.
        self._lifetime = config.time_to_live_updates if config.eviction == "time_to_live" else 1
        self._reader = _module(num_rows - 1, torch.device("cpu"), evicts=False).eval()
        self._last_seen_P = torch.full([num_rows - 1], FREE, dtype=torch.int32)
        self._changes = torch.zeros(1, dtype=torch.int64)

    @property
    def _keys_P(self) -> Tensor:
        keys_P: Tensor = self._reader._hash_zch_identities.data.squeeze(1)
        return keys_P

    def rows(self, ids_N: Tensor) -> Tensor:
        """The row of every id; see `IdMap`."""
        keys_N = ids_N ^ SIGN_BIT
        places_N = _places(self._reader, keys_N)
        # An id that has no place is told somebody else's.
        return torch.where(self._keys_P[places_N] == keys_N, places_N, self._fallback)

    def show(self, ids_M: Tensor, counts_M: Tensor) -> Tensor:
        """Lets TorchRec's module admit and evict; see `IdMap`. How often an id was seen does not count here."""
        self._changes += 1
        now = int(self._changes)
        module = _module(self._fallback, DEVICE, evicts=True)
        module._eviction_module = _Clock(now, now - self._lifetime)
        keys, last_seen = module._hash_zch_identities.data, module._hash_zch_metadata
        keys.copy_(self._keys_P[:, None])
        last_seen.copy_(self._last_seen_P[:, None])
        has_row_M = self.rows(ids_M) != self._fallback
        # Who has a row first, so that nobody who is seen now makes room.
        for part in (ids_M[has_row_M], ids_M[~has_row_M]):
            if len(part):
                _places(module, (part ^ SIGN_BIT).to(DEVICE))
                module.evict()
        after_P = self._from_first_rank(keys).squeeze(1).cpu()
        fresh_R = (after_P != self._keys_P).nonzero().squeeze(1)
        self._keys_P.copy_(after_P)
        self._last_seen_P.copy_(self._from_first_rank(last_seen).squeeze(1))
        return fresh_R

    def num_ids(self) -> int:
        """Ids that have a row of their own."""
        return int((self._keys_P != FREE).sum())

    def table(self) -> tuple[Tensor, Tensor]:
        """The ids that have a row, ascending, and their rows; see `IdMap`."""
        ids_R, rows_R = self._by_id()
        return ids_R[: self.num_ids()], rows_R[: self.num_ids()]

    def state_dict(self) -> dict[str, Tensor]:
        """Everything that it goes on from."""
        ids_R, rows_R = self._by_id()
        return {"ids": ids_R, "rows": rows_R, "last_seen": self._last_seen_P, "changes": self._changes}

    def load_state_dict(self, state: dict[str, Tensor]) -> None:
        """Goes on from a state of `state_dict`."""
        taken_R = state["ids"] != NO_ID
        self._keys_P.fill_(FREE)
        self._keys_P[state["rows"][taken_R]] = state["ids"][taken_R] ^ SIGN_BIT
        self._last_seen_P.copy_(state["last_seen"])
        self._changes.copy_(state["changes"])

    def _by_id(self) -> tuple[Tensor, Tensor]:
        """The id of every row, ascending, and the rows; NO_ID, the greatest, where the row is free."""
        ids_R, rows_R = torch.cat([self._keys_P ^ SIGN_BIT, torch.tensor([NO_ID])]).sort()
        return ids_R, rows_R


def require_gpu() -> None:
    """Refuses to train such a map where it can't change.

    Raises:
        UserError: there is no GPU.
    """
    if not torch.cuda.is_available():
        raise UserError(
            "managed_ids.map mpzch needs a GPU to train, and torch sees none; "
            "train on a GPU, or set it to sorted, from pretraining on."
        )


def _module(num_places: int, device: torch.device, evicts: bool) -> HashZchManagedCollisionModule:
    config = HashZchEvictionConfig(features=["ids"], single_ttl=0)
    return HashZchManagedCollisionModule(
        zch_size=num_places,
        device=device,
        total_num_buckets=1,
        max_probe=MAX_PROBE,
        # Makes TorchRec keep the time of each id; _Clock tells it, and who is old enough.
        eviction_policy_name=HashZchEvictionPolicyName.LRU_EVICTION if evicts else None,
        eviction_config=config if evicts else None,
    )


def _places(module: HashZchManagedCollisionModule, keys_N: Tensor) -> Tensor:
    jagged = JaggedTensor(values=keys_N, lengths=torch.tensor([len(keys_N)], device=keys_N.device))
    places_N: Tensor = module.remap({"ids": jagged})["ids"].values()
    return places_N


class _Clock(nn.Module):
    """Tells a module that evicts the time in changes of the map, where TorchRec's own would in hours of the day.

    Args:
        now: when the ids are seen.
        oldest: who was last seen then, or earlier, may be evicted.
    """

    def __init__(self, now: int, oldest: int) -> None:
        super().__init__()
        # The kernel compares with <, and takes -1 for no limit.
        self._now, self._limit = now, max(oldest + 1, 0)

    def forward(self, feature: JaggedTensor) -> tuple[Tensor, int]:
        """When each id is seen, and the time before which one must have been seen to be evicted."""
        return torch.full_like(feature.values(), self._now, dtype=torch.int32), self._limit
