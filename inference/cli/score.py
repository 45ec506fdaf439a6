"""Score Parquet requests, a file or a folder of files, with an exported model."""

import time
from pathlib import Path
from typing import Any

from jsonargparse import ArgumentParser, Namespace

from pinfm.embeddings.errors import UserError
from pinfm.inference.folders import require_batch_size, require_model, require_own_file, require_trust
from pinfm.inference.requests.parts import request_parts

SUMMARY = "batch scoring of Parquet files"


def configure(parser: ArgumentParser) -> None:
    """Adds the verb's flags."""
    parser.add_argument("model", type=Path, help="a model folder")
    parser.add_argument(
        "requests",
        type=Path,
        help="a Parquet file, one row per request, or a folder of such; columns as in signature.json",
    )
    parser.add_argument("--out", type=Path, required=True, help="the Parquet file of scores to write")
    parser.add_argument(
        "--explain",
        type=Path | None,
        default=None,
        help="also write how far each event of the histories is trusted, to this Parquet file; of a model that was "
        "exported with --adapt trust",
    )
    parser.add_argument("--batch-size", type=int, default=256, help="requests scored at a time")


def run(args: Namespace) -> dict[str, Any]:
    """Scores; the report holds counts and seconds."""
    request_parts(args.requests)
    require_own_file(args.out, args.requests, args.model)
    require_batch_size(args.batch_size)
    require_model(args.model)
    if args.explain is not None:
        require_trust(args.model)
        require_own_file(args.explain, args.requests, args.model, "--explain")
        if args.explain.resolve() == args.out.resolve():
            raise UserError(f"--explain and --out are one file ({args.out}); give each its own.")

    from pinfm.inference.adaptation.explain import TrustFile
    from pinfm.inference.artifact import load
    from pinfm.inference.files import score_file
    from pinfm.inference.memory import keep_freed_memory

    keep_freed_memory()
    scorer = load(args.model)
    start = time.perf_counter()
    explained: dict[str, Any] = {}
    if args.explain is None:
        requests, candidates = score_file(scorer, args.requests, args.out, args.batch_size)
    else:
        with TrustFile(scorer, args.explain) as explanation:
            requests, candidates = score_file(scorer, args.requests, args.out, args.batch_size, explanation)
        explained = {"explanation": {"file": str(args.explain), **explanation.summary()}}
    seconds = time.perf_counter() - start
    print(f"{args.out}: {candidates} candidates of {requests} requests in {seconds:.2f} s")
    if args.explain is not None:
        print(f"{args.explain}: {explanation.sentence()}")
    return {"scores": str(args.out), "requests": requests, "candidates": candidates, "seconds": seconds, **explained}
