"""MPZCH's kernel for training, which only CUDA has, as its lookups expect it: one id after the other."""

import torch
import torch.distributed as dist
from torchrec.modules.hash_mc_modules import HashZchManagedCollisionModule

from pinfm.embeddings.id_map import probed_map
from pinfm.embeddings.id_map.probed_map import FREE

lookup = HashZchManagedCollisionModule._zero_collision_hash


def one_by_one(module, **arguments):
    """Stands in for the kernel: ids that are there are seen, others take the first free place from their hash on, or
    that of the one not seen for longest, if that was before the threshold.
    """
    if arguments["readonly"]:
        return lookup(module, **arguments)
    identities, metadata = arguments["identities"], arguments["metadata"]
    refuse_what_cuda_refuses(arguments)
    keys_P, last_seen_P = identities.squeeze(1), metadata.squeeze(1)
    evicted, shown = [], list(zip(arguments["input"].tolist(), arguments["input_metadata"].tolist(), strict=True))
    # Threads of a GPU race, so that ranks differ.
    if dist.is_initialized() and dist.get_rank() > 0:
        shown.reverse()
    for key, now in shown:
        places = (hash_place(key, len(keys_P)) + torch.arange(min(arguments["max_probe"], len(keys_P)))) % len(keys_P)
        place = next((place for wanted in (key, FREE) for place in places.tolist() if keys_P[place] == wanted), None)
        if place is None:
            oldest = places[last_seen_P[places].argmin()]
            if last_seen_P[oldest] >= arguments["eviction_threshold"]:
                continue
            place = int(oldest)
            evicted.append(place)
        keys_P[place], last_seen_P[place] = key, now
    return arguments["input"].clone(), torch.tensor(evicted, dtype=torch.int64)


def refuse_what_cuda_refuses(arguments):
    """What the kernel asks of its arguments, and that it is told to evict the least recently seen."""
    keys_N, times_N, size = arguments["input"], arguments["input_metadata"], len(arguments["identities"])
    assert keys_N.dtype == arguments["identities"].dtype == torch.int64
    assert times_N.dtype == arguments["metadata"].dtype == torch.int32
    assert keys_N.shape == times_N.shape == arguments["local_sizes"].shape == arguments["offsets"].shape
    assert arguments["identities"].shape == arguments["metadata"].shape == (size, 1)
    assert (arguments["local_sizes"] == size).all()
    assert not arguments["offsets"].any()
    assert (arguments["eviction_policy"], arguments["eviction_threshold"] >= 0) == (1, True)
    # A place that has an owner and no time would be waited for, without end.
    assert ((arguments["identities"] == FREE) == (arguments["metadata"] == FREE)).all()


def hash_place(key, num_places):
    """Where fbgemm looks for an id first: the place that it answers with for one that an empty map does not have."""
    empty = torch.full((num_places, 1), FREE)
    places, _ = torch.ops.fbgemm.zero_collision_hash(
        input=torch.tensor([key]), identities=empty, max_probe=1, circular_probe=True, readonly=True
    )
    return int(places)


def train_without_a_gpu(monkeypatch):
    """Lets maps change on a CPU, slowly."""
    monkeypatch.setattr(HashZchManagedCollisionModule, "_zero_collision_hash", one_by_one)
    monkeypatch.setattr(probed_map, "DEVICE", torch.device("cpu"))
    monkeypatch.setattr(probed_map, "require_gpu", lambda: None)
