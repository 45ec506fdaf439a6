"""MPZCH's kernel for training, which only CUDA has, as its lookups expect it: one id after the other."""

import os

import torch
from torchrec.modules.hash_mc_modules import HashZchManagedCollisionModule

from pinfm.embeddings.id_map import probed
from pinfm.embeddings.id_map.probed import FREE

lookup = HashZchManagedCollisionModule._zero_collision_hash


def one_by_one(module, **arguments):
    """Stands in for the kernel: ids that are there are seen, others take the first free place from their hash on, or
    that of the one not seen for longest, if that was before the threshold.
    """
    if arguments["readonly"]:
        return lookup(module, **arguments)
    keys_P, last_seen_P = arguments["identities"].squeeze(1), arguments["metadata"].squeeze(1)
    evicted, shown = [], list(zip(arguments["input"].tolist(), arguments["input_metadata"].tolist(), strict=True))
    # Threads of a GPU race, so that ranks differ.
    for key, now in reversed(shown) if os.environ.get("RANK", "0") != "0" else shown:
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
    monkeypatch.setattr(probed, "DEVICE", torch.device("cpu"))
