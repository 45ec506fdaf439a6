"""A model's index: the catalogue's vectors in int8, written into the model folder."""

import json
import os
import shutil
import tempfile
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow
import pyarrow.parquet
import torch
from torch import Tensor

from pinfm.embeddings.errors import UserError
from pinfm.embeddings.files.lock import being_written
from pinfm.embeddings.files.sums import crc32_of
from pinfm.embeddings.files.whole import sync_tree
from pinfm.inference.artifact import Scorer, write_json
from pinfm.inference.folders import MANIFEST, MODULE
from pinfm.inference.index.catalogue import Catalogue, read_catalogue
from pinfm.inference.index.files import INDEX, INDEX_CRC32, INDEX_JSON, INDEX_MODULE, ITEMS, LISTS
from pinfm.inference.index.search import MOST_ITEMS, MOST_WIDTH, ExactIndex
from pinfm.inference.options import IndexOptions
from pinfm.inference.signature import sha256
from pinfm.inference.tables import TableFile
from pinfm.inference.write_tables import write_table

# Embedded at a time.
BLOCK = 1 << 15
MEAN_USER = "mean_user_vector"
PARTS = "parts"
# Items from which on `auto` looks into lists.
MANY = 2_000_000


def mean_user_vector(scorer: Scorer, requests: pd.DataFrame) -> list[float] | None:
    """The mean vector of the users of some requests, which stands for one without a history; None without a tower.

    Args:
        scorer: the artefact.
        requests: those that the run kept.
    """
    if not scorer.has_tower:
        return None
    total, count = torch.zeros(0), 0
    for start in range(0, len(requests), 32):
        inputs = scorer.retrieval_inputs(requests.iloc[start : start + 32], start)
        vectors = scorer.module.user_vectors(scorer.module.encode(inputs), inputs)
        count += int((vectors != 0).any(1).sum())
        total = vectors.double().sum(0) + (total if total.numel() else 0)
    mean: list[float] = (total / max(count, 1)).tolist()
    return mean


def write_index(scorer: Scorer, options: IndexOptions) -> dict[str, Any]:
    """Makes a model's index, in the place of one that is there.

    Args:
        scorer: the artefact.
        options: what is in it.

    Returns:
        What `index.json` says.

    Raises:
        UserError: the model has no tower, the table can't be read, or no item of it has a vector of its own.
    """
    mean = json.loads((scorer.folder / MANIFEST).read_text()).get(MEAN_USER)
    if not scorer.has_tower or mean is None:
        raise UserError(
            f"{scorer.folder} has no tower that makes vectors of users and items, or is of an older pinfm; export a "
            "run that has one."
        )
    catalogue = read_catalogue(options.items, scorer.columns, options.attributes)
    known = scorer.module.has_row(torch.from_numpy(catalogue.ids)).numpy()
    if not known.any():
        raise UserError(f"{options.items}: the model knows none of its {len(known)} items; give the run's own items.")
    told = {"items": int(known.sum()), "duplicates": catalogue.duplicates, "without_row": int((~known).sum())}
    catalogue = catalogue.take(np.flatnonzero(known))
    with _replaced(scorer.folder / INDEX) as unfinished:
        return _write(scorer, options, catalogue, torch.tensor(mean), unfinished, told)


def _write(
    scorer: Scorer, options: IndexOptions, catalogue: Catalogue, mean_O: Tensor, folder: Path, told: dict[str, int]
) -> dict[str, Any]:
    if len(catalogue.ids) > MOST_ITEMS or mean_O.size(0) > MOST_WIDTH:
        raise UserError(
            f"an index holds at most {MOST_ITEMS} items of width {MOST_WIDTH}, not {len(catalogue.ids)} of "
            f"{mean_O.size(0)}; give fewer items, or lower tower.out_dim."
        )
    kind = options.kind
    if kind == "auto":
        kind = "faiss" if len(catalogue.ids) >= MANY else "exact"
    written: dict[str, Any] = {"kind": kind, "model_sha256": sha256(scorer.folder / MODULE)}
    files = _write_attributes(options, catalogue, folder)
    if kind == "faiss":
        written |= _write_lists(scorer, catalogue, folder) | {MEAN_USER: mean_O.tolist()}
    else:
        files += _write_rows(scorer, catalogue, folder)
        _write_search(options, mean_O, crc32_of(scorer.folder / MODULE), files, folder)
    features = {name: list(values) if values.ndim == 2 else values for name, values in catalogue.features.items()}
    items = pd.DataFrame({"item_id": catalogue.written.to_numpy(), **features})
    pyarrow.parquet.write_table(pyarrow.Table.from_pandas(items, preserve_index=False), folder / ITEMS)
    written |= {
        "sha256": {name: sha256(folder / name) for name in (LISTS if kind == "faiss" else INDEX_MODULE, ITEMS)},
        "files": [asdict(file) for file in files],
        "attributes": list(options.attributes),
        "source": str(options.items),
        **told,
    }
    write_json(folder / INDEX_JSON, written)
    return written


def _write_search(options: IndexOptions, mean_O: Tensor, crc32: int, files: list[TableFile], folder: Path) -> None:
    """The search itself, which names the files."""
    index = ExactIndex(list(options.attributes), mean_O, crc32)
    index.table_files = [file.to_row() for file in files]
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "`torch.jit", DeprecationWarning)
        torch.jit.save(torch.jit.script(index.eval()), folder / INDEX_MODULE)
    (folder / INDEX_CRC32).write_text(f"{crc32_of(folder / INDEX_MODULE):08x}\n")


def _write_lists(scorer: Scorer, catalogue: Catalogue, folder: Path) -> dict[str, Any]:
    """The catalogue in FAISS's lists; tells how a search looks into them."""
    from pinfm.inference.index.lists import build_lists, save_lists

    vectors_VO = torch.cat(list(_vectors(scorer, catalogue))).numpy()
    lists, probes, found = build_lists(vectors_VO)
    save_lists(lists, folder / LISTS)
    return {"lists": lists.nlist, "probes": probes, "recall_at_100": found}


def _vectors(scorer: Scorer, catalogue: Catalogue) -> Iterator[Tensor]:
    """The items' vectors, a block at a time.

    Raises:
        UserError: one is not finite.
    """
    ids = torch.from_numpy(catalogue.ids)
    for start in range(0, len(ids), BLOCK):
        vectors_BO = scorer.module.catalogue_vectors(ids[start : start + BLOCK])
        if not bool(torch.isfinite(vectors_BO).all()):
            raise UserError("the model gives an item a vector that is not finite; train it again, with a lower rate.")
        yield vectors_BO


def _write_rows(scorer: Scorer, catalogue: Catalogue, folder: Path) -> list[TableFile]:
    """The catalogue's vectors as files that `ExactIndex.place` takes."""
    scales: list[Tensor] = []

    def rows() -> Iterator[Tensor]:
        for vectors_BO in _vectors(scorer, catalogue):
            rows_BO, scales_B = int8_rows(vectors_BO)
            scales.append(scales_B)
            yield rows_BO

    files = [write_table(folder, "rows", rows(), below=PARTS)]
    return [*files, write_table(folder, "scales", [torch.cat(scales)[:, None]], below=PARTS)]


def _write_attributes(options: IndexOptions, catalogue: Catalogue, folder: Path) -> list[TableFile]:
    """Ids, and what can be filtered by, likewise."""
    files = [write_table(folder, "ids", [torch.from_numpy(catalogue.ids)[:, None]], below=PARTS)]
    for name in options.attributes:
        values, codes = np.unique(catalogue.features[name], return_inverse=True)
        files.append(write_table(folder, f"values.{name}", [torch.from_numpy(values)[:, None]], below=PARTS))
        of_items = torch.from_numpy(codes.astype(np.int32))[:, None]
        files.append(write_table(folder, f"codes.{name}", [of_items], below=PARTS))
    return files


def int8_rows(vectors_VO: Tensor) -> tuple[Tensor, Tensor]:
    """Float vectors -> (V, O) int8 in [-127, 127] and (V,) float32 scales; their product is the vectors, rounded."""
    scales_V = (vectors_VO.abs().amax(1) / 127).clamp(min=1e-30)
    return (vectors_VO / scales_V[:, None]).round().clamp(-127, 127).to(torch.int8), scales_V


@contextmanager
def _replaced(out: Path) -> Iterator[Path]:
    """A folder beside `out` that takes its place when it is whole."""
    with being_written(out):
        unfinished = Path(tempfile.mkdtemp(prefix=f".{out.name}.", suffix=".tmp", dir=out.parent))
        unfinished.chmod(0o755)
        old = unfinished.with_suffix(".old")
        try:
            yield unfinished
            sync_tree(unfinished)
            if out.exists():
                os.rename(out, old)
            os.rename(unfinished, out)
        finally:
            shutil.rmtree(unfinished, ignore_errors=True)
            shutil.rmtree(old, ignore_errors=True)
