"""Find items for requests of a Parquet file, or of a folder of such, in the index of an exported model."""

import time
from pathlib import Path
from typing import Any

from jsonargparse import ArgumentParser, Namespace

from pinfm.embeddings.errors import UserError
from pinfm.inference.folders import require_batch_size, require_model, require_own_file
from pinfm.inference.requests.parts import request_parts

SUMMARY = "the items of a model's index that users are nearest to"


def configure(parser: ArgumentParser) -> None:
    """Adds the verb's flags."""
    parser.add_argument("model", type=Path, help="a model folder with an index")
    parser.add_argument(
        "requests",
        type=Path,
        help="a Parquet file, one row per request, or a folder of such: the columns history_* and request_timestamp as "
        "in signature.json, and where wanted exclude_item_id and filter_ATTRIBUTE (docs/retrieval.md)",
    )
    parser.add_argument(
        "--out", type=Path, required=True, help="the Parquet file to write: request, item_id, inner_product"
    )
    parser.add_argument("--k", type=int, default=100, help="items for each request")
    parser.add_argument("--batch-size", type=int, default=256, help="requests at a time")


def run(args: Namespace) -> dict[str, Any]:
    """Retrieves; the report holds counts and seconds."""
    request_parts(args.requests)
    require_own_file(args.out, args.requests, args.model)
    require_batch_size(args.batch_size)
    if args.k < 1:
        raise UserError(f"--k ({args.k}) must be at least 1.")
    require_model(args.model)

    from pinfm.inference.artifact import load
    from pinfm.inference.files import retrieve_file

    scorer = load(args.model)
    start = time.perf_counter()
    requests, items = retrieve_file(scorer, args.requests, args.out, args.k, args.batch_size)
    seconds = time.perf_counter() - start
    print(f"{args.out}: {items} items for {requests} requests in {seconds:.2f} s")
    return {"found": str(args.out), "requests": requests, "items": items, "seconds": seconds}
