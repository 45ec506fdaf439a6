"""Time exported models on random valid requests, one at a time, the models taking turns."""

from pathlib import Path
from typing import Any

from jsonargparse import ArgumentParser, Namespace

from pinfm.embeddings.errors import require_at_least
from pinfm.inference.folders import require_model

SUMMARY = "what a request costs with an exported model"


def configure(parser: ArgumentParser) -> None:
    """Adds the verb's flags."""
    parser.add_argument("models", type=Path, nargs="+", help="model folders")
    parser.add_argument("--candidates", type=int, default=1000, help="of each request")
    parser.add_argument(
        "--history", type=int | None, default=None, help="events of each request; default: all that the model reads"
    )
    parser.add_argument("--requests", type=int, default=100, help="timed, of each model")
    parser.add_argument("--rounds", type=int, default=5, help="turns of each model, over which its requests are spread")
    parser.add_argument("--threads", type=int, default=2, help="of the process")


def run(args: Namespace) -> dict[str, Any]:
    """Times and prints; the report holds a row a model."""
    require_at_least("", 1, threads=args.threads)
    for folder in args.models:
        require_model(folder)

    import torch

    from pinfm.inference.latency import LatencyOptions, time_models
    from pinfm.inference.memory import keep_freed_memory

    options = LatencyOptions(
        candidates=args.candidates, history=args.history, requests=args.requests, rounds=args.rounds
    )
    torch.set_num_threads(args.threads)
    keep_freed_memory()
    models = time_models(args.models, options)
    for folder, row in models.items():
        rate = f"{row['candidates_per_s']:.0f} candidates/s"
        print(f"{folder}: p50 {row['p50_ms']:.1f} ms, p99 {row['p99_ms']:.1f} ms, {rate}")
    return {"models": models, "threads": args.threads, **vars(options)}
