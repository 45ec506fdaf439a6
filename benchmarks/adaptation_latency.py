r"""What the adaptation of histories adds to a request: one user with 256 events and 1,000 candidates.

    ./run python -m benchmarks.adaptation_latency --write

The files are what `pinfm export --adapt none | trust | vectors` writes, with random weights, which cost what trained
ones cost. They take turns on the same requests, each of other ids. The towers are those of the recipe `kuairand` and of
the paper's shapes; the features few, or as many as KuaiRand has.
"""

import argparse
import statistics
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from benchmarks.parts.speed.performance import add_output_flags, put_out
from benchmarks.parts.speed.served_model import CONFIG, Inputs, Tables, random_request, random_tables, scoring_module
from benchmarks.serving import SCHEMAS, Scoring, latencies
from pinfm.inference import keep_freed_memory
from pinfm.inference.export import adapt_module, save_module
from pinfm.model.adaptation.config import TrustConfig, VectorAdaptationConfig
from pinfm.model.adaptation.reference import make_reference
from pinfm.model.config import ModelConfig, RankerConfig, TowerConfig
from pinfm.model.inputs import History
from pinfm.model.ranking.joint import FusedRanker
from pinfm.model.schema import InputSchema

MODELS = {
    "kuairand": ModelConfig(
        tower=TowerConfig(num_layers=1, dim=64, num_heads=2, out_dim=64, dropout=0.0),
        ranker=RankerConfig(interaction="dcn_v2", over_hidden=(256, 128)),
    ),
    "paper": CONFIG,
}
FORMS: dict[str, TrustConfig | VectorAdaptationConfig | None] = {
    "none": None,
    "trust": TrustConfig(),
    "vectors": VectorAdaptationConfig(),
    "vectors_newest_16": VectorAdaptationConfig(newest_events=16),
}
# Users whose histories make the reference.
REFERENCE_USERS = 64


def main() -> None:
    """Measures, prints the table and writes the report."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--requests", type=int, default=100, help="timed, of each file")
    parser.add_argument("--events", type=int, default=256)
    parser.add_argument("--candidates", type=int, default=1000)
    parser.add_argument("--rows", type=int, default=100_000, help="of each of the 8 item tables")
    add_output_flags(parser)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    keep_freed_memory()
    torch.manual_seed(0)
    rows = []
    with torch.no_grad():
        for features, schema in SCHEMAS.items():
            tables = random_tables(schema, args.rows)
            for model, config in MODELS.items():
                found = adaptation_rows(config, schema, tables, args)
                rows += [{"model": model, "features": features, **row} for row in found]
    put_out(args, "adaptation latency", {"latency": rows})


def adaptation_rows(
    config: ModelConfig, schema: InputSchema, tables: Tables, args: argparse.Namespace
) -> list[dict[str, Any]]:
    """A row for each form of adaptation.

    Args:
        config: of the model.
        schema: its features.
        tables: theirs.
        args: the program's.
    """

    def request() -> Inputs:
        return random_request(args.events, args.candidates, schema)

    with tempfile.TemporaryDirectory() as folder:
        files = adapted_files(config, schema, tables, args.events, Path(folder))
        seconds = latencies(files, request, args.requests)
    plain = seconds["none"]
    rows = []
    for form, times in seconds.items():
        # Of each request what it takes more than the same one without adaptation: the machine's moods fall on both.
        added = statistics.median(time / before for time, before in zip(times, plain, strict=True)) - 1
        median_ms = 1e3 * statistics.median(times)
        rows.append({"adapt": form, "p50_ms": median_ms, "added": "" if form == "none" else f"{100 * added:+.1f} %"})
    return rows


def adapted_files(
    config: ModelConfig, schema: InputSchema, tables: Tables, events: int, folder: Path
) -> Mapping[str, Scoring]:
    """Form -> the loaded file of it; all have the same weights.

    Args:
        config: of the model.
        schema: its features.
        tables: theirs.
        events: of the longest history.
        folder: for the files.
    """
    weights = scoring_module(config, schema, tables, events, torch.float32).state_dict()
    files: dict[str, Scoring] = {}
    for form, settings in FORMS.items():
        module = scoring_module(config, schema, tables, events, torch.float32)
        module.load_state_dict(weights)
        if settings is not None:
            assert isinstance(module.model, FusedRanker)
            many = [random_request(events, 0, schema) for _ in range(REFERENCE_USERS)]
            columns = (torch.cat([inputs[f"history_{name}"] for inputs in many]) for name in History._fields)
            history = History(*columns)
            vectors = module.item_tables(history.item_id)
            adapt_module(
                module, settings, make_reference(module.model.encoder, history, vectors, schema.positive_codes())
            )
        save_module(module, folder / f"{form}.pt")
        files[form] = torch.jit.load(folder / f"{form}.pt")
    return files


if __name__ == "__main__":
    main()
