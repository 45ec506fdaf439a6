"""Model folders with their tables apart: the same scores, less memory, and no file that is not the one written."""

import json
import shutil
import sys
from dataclasses import replace

import pandas as pd
import pytest
import runs
import torch

from pinfm.embeddings.errors import UserError
from pinfm.inference import load
from pinfm.inference.tables import TableFile, place_tables
from pinfm.inference.write_tables import write_table
from pinfm.model.tower import SequenceTower
from pinfm.train.cli.main import main

TASKS = ["click", "save", "hide"]


@pytest.fixture(scope="module")
def apart(root, finetuned):
    """The fine-tuned run with int4 tables in files of their own."""
    folder = root / "model_apart"
    flags = ["--precision", "int4", "--layout", "apart", "--max-auc-loss", "1"]
    assert main(["export", str(finetuned), "--out", str(folder), *flags]) == 0
    return folder


@pytest.fixture
def copied(apart, tmp_path):
    return shutil.copytree(apart, tmp_path / "model")


def test_both_layouts_give_the_same_scores(apart, finetuned, tmp_path):
    flags = ["--precision", "int4", "--max-auc-loss", "1"]
    assert main(["export", str(finetuned), "--out", str(tmp_path / "whole"), *flags]) == 0
    requests = pd.read_parquet(finetuned / "requests.parquet")
    ours, theirs = load(apart).score(requests), load(tmp_path / "whole").score(requests)
    pd.testing.assert_frame_equal(ours, theirs)
    assert not (tmp_path / "whole" / "tables").exists()


def test_the_manifest_lists_every_table(apart):
    manifest = json.loads((apart / "manifest.json").read_text())
    assert manifest["layout"] == "apart"
    names = {table["name"] for table in manifest["tables"]}
    assert {"item_tables.item_0", "item_tables.item_1", "feature_tables.user_id_0"} <= names
    assert {table["file"] for table in manifest["tables"]} == {
        str(path.relative_to(apart)) for path in (apart / "tables").iterdir()
    }
    item = next(table for table in manifest["tables"] if table["name"] == "item_tables.item_0")
    assert (item["rows"], item["columns"], item["dtype"]) == (200, 6, "uint8")


def test_item_vectors_are_those_of_the_tables(apart, finetuned):
    tower = SequenceTower.from_run(finetuned)
    ids = torch.arange(-20, 20)
    with torch.no_grad():
        exact, found = tower.item_embedding(ids), load(apart).module.item_vectors(ids)
    # A row of four values has its own sixteen steps, and no more than its span is between two of them.
    assert 0 < (found - exact).abs().max() < 0.51 * (exact.max() - exact.min()) / 15


def test_what_the_manifest_says_of_tables_places_none(apart, copied, finetuned):
    manifest = json.loads((copied / "manifest.json").read_text())
    one, other, *rest = manifest["tables"]
    manifest["tables"] = [{**one, "name": other["name"]}, {**other, "name": one["name"]}, *rest[1:]]
    (copied / "manifest.json").write_text(json.dumps(manifest))
    requests = pd.read_parquet(finetuned / "requests.parquet")
    pd.testing.assert_frame_equal(load(copied).score(requests), load(apart).score(requests))


def test_a_missing_table_is_named(copied):
    (copied / "tables" / "item_tables.item_1.bin").unlink()
    with pytest.raises(UserError, match=r"tables/item_tables\.item_1\.bin is missing; copy the whole model folder"):
        load(copied)


def test_a_short_table_is_named(copied):
    file = copied / "tables" / "item_tables.item_1.bin"
    file.write_bytes(file.read_bytes()[:-1])
    with pytest.raises(UserError, match=r"item_tables\.item_1\.bin has 1199 bytes, not 1200; copy the whole"):
        load(copied)


def test_a_flipped_byte_is_found(copied):
    file = copied / "tables" / "feature_tables.user_id_0.bin"
    values = bytearray(file.read_bytes())
    values[7] ^= 1
    file.write_bytes(values)
    with pytest.raises(UserError, match=r"user_id_0\.bin was changed after its export \(CRC-32 differs\); copy"):
        load(copied)


def test_names_are_made_file_names(tmp_path):
    file = write_table(tmp_path, "feature_tables.a/b ../c_0", [torch.ones(2, 4), torch.zeros(1, 4)])
    assert file.file == "tables/feature_tables.a%2Fb%20..%2Fc_0.bin"
    assert TableFile(**file.to_json()) == file

    class Taker:
        def place(self, name, rows):
            self.taken = name, rows.clone()

    taker = Taker()
    place_tables(taker, tmp_path, [file])
    assert taker.taken[0] == "feature_tables.a/b ../c_0"
    assert taker.taken[1].tolist() == [[1.0] * 4, [1.0] * 4, [0.0] * 4]


class Untouched:
    """A module that must not be given anything."""

    def place(self, name, rows):
        raise AssertionError(f"{name} was placed")


@pytest.mark.parametrize("file", ["../outside.bin", "{outside}", "tables/../../outside.bin", "tables/link.bin"])
def test_a_table_outside_the_model_folder_is_not_opened(tmp_path, file):
    """The file is whole and its checksum right: it is refused for where it lies."""
    folder, outside = tmp_path / "model", tmp_path / "outside.bin"
    (folder / "tables").mkdir(parents=True)
    written = write_table(folder, "item_tables.item_0", [torch.ones(1, 4)])
    (folder / written.file).rename(outside)
    (folder / "tables" / "link.bin").symlink_to(outside)
    named = replace(written, file=file.format(outside=outside))
    with pytest.raises(UserError, match=r"names a table \(.*\) outside the model folder; load only models that you tr"):
        place_tables(Untouched(), folder, [named])


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"dtype": "float8"}, "values of type float8, which this pinfm does not know; use the newest one"),
        ({"rows": -1, "columns": -4}, "of an impossible size; export the run again"),
    ],
)
def test_a_table_that_can_not_be_is_refused(tmp_path, changes, sentence):
    (tmp_path / "tables").mkdir(exist_ok=True)
    written = write_table(tmp_path, "item_tables.item_0", [torch.ones(1, 4)])
    with pytest.raises(UserError, match=sentence):
        place_tables(Untouched(), tmp_path, [replace(written, **changes)])


# Not getrusage, which in a new process begins with what its parent held.
HELD = """
from pathlib import Path


def held(field):
    return int(Path("/proc/self/status").read_text().split(field + ":")[1].split()[0])
"""

MEMORY = f"""{HELD}
import sys
from itertools import islice

import torch
from pinfm.embeddings.quantize import in_precision
from pinfm.inference.write_tables import write_table
from pinfm.model.stored.table import StoredTable

checkpoint, folder = map(Path, sys.argv[1:])
table = StoredTable(checkpoint, "model.table")


def blocks():
    return (in_precision(block, "int4") for block in table.blocks(1 << 15))


# Threads, buffers and what two blocks leave in the heap are there before the whole table is packed.
write_table(folder, "warm", islice(blocks(), 2))
before = held("VmHWM")
write_table(folder, "table", blocks())
print("grew by", held("VmHWM") - before, "KiB")
"""


def test_a_table_is_packed_in_blocks(group, tmp_path):
    torch.distributed.checkpoint.save({"model": {"table": torch.randn(600_000, 32)}}, checkpoint_id=tmp_path / "c")
    done = runs.command(sys.executable, "-c", MEMORY, tmp_path / "c", tmp_path, cwd=tmp_path)
    grown = int(done.stdout.split("grew by ")[1].split()[0]) / 1024
    # The table has 73 MiB; a block of it 4.
    assert grown < 24


# What the libraries hold depends on the wheels: 450 MiB with torch's CPU build, 900 with that for CUDA.
EXPORT = f"""{HELD}
import sys
import pinfm.inference.export
from pinfm.train.cli.main import main

libraries = held("VmRSS")
assert main(["export", sys.argv[1], "--out", sys.argv[2], "--precision", "int8"]) == 0
print("grew by", held("VmHWM") - libraries, "KiB")
"""


def test_an_export_holds_little_beside_its_libraries_and_tables(finetuned, tmp_path):
    done = runs.command(sys.executable, "-c", EXPORT, finetuned, tmp_path / "model", cwd=tmp_path)
    grown = int(done.stdout.split("grew by ")[1].split()[0]) / 1024
    # This run's tables have next to nothing; what grows with tables is the test's above.
    assert 0 < grown < 384
