"""Score Parquet requests, a file or a folder of files, or those of a prepared dataset, with an exported model."""

import time
from collections.abc import Callable, Iterator
from importlib.metadata import entry_points
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from jsonargparse import ArgumentParser, Namespace

from pinfm.embeddings.errors import UserError
from pinfm.inference.folders import require_batch_size, require_model, require_own_file, require_trust
from pinfm.inference.requests.parts import request_parts

if TYPE_CHECKING:
    import pandas as pd

    from pinfm.inference.adaptation.explain import TrustFile
    from pinfm.inference.artifact import Scorer

# Where installed packages name what reads requests of their datasets.
READERS = "pinfm.requests"
SUMMARY = "batch scoring of Parquet files"


def configure(parser: ArgumentParser) -> None:
    """Adds the verb's flags."""
    parser.add_argument("model", type=Path, help="a model folder")
    requests = parser.add_argument(
        "requests",
        type=Path | None,
        metavar="[requests]",
        help="a Parquet file, one row per request, or a folder of such; columns as in signature.json",
    )
    # With nargs="?", argparse takes it for left out as soon as a flag stands between it and the model.
    requests.required = False
    parser.add_argument(
        "--data",
        type=Path | None,
        default=None,
        help="in place of requests: a prepared dataset, whose requests are scored with the histories that it has of "
        "them; the scores also hold request_id, user_id and timestamp, with ids as the log writes them",
    )
    parser.add_argument(
        "--split", type=Literal["train", "validation", "test"], default="test", help="which requests of --data"
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
    source = _source(args)
    require_own_file(args.out, source, args.model)
    require_batch_size(args.batch_size)
    require_model(args.model)
    if args.explain is not None:
        require_trust(args.model)
        require_own_file(args.explain, source, args.model, "--explain")
        if args.explain.resolve() == args.out.resolve():
            raise UserError(f"--explain and --out are one file ({args.out}); give each its own.")

    from pinfm.inference.adaptation.explain import TrustFile
    from pinfm.inference.artifact import load
    from pinfm.inference.memory import keep_freed_memory

    keep_freed_memory()
    scorer = load(args.model)
    start = time.perf_counter()
    explained: dict[str, Any] = {}
    if args.explain is None:
        requests, candidates = _score(args, scorer, None)
    else:
        with TrustFile(scorer, args.explain) as explanation:
            requests, candidates = _score(args, scorer, explanation)
        explained = {"explanation": {"file": str(args.explain), **explanation.summary()}}
    seconds = time.perf_counter() - start
    print(f"{args.out}: {candidates} candidates of {requests} requests in {seconds:.2f} s")
    if args.explain is not None:
        print(f"{args.explain}: {explanation.sentence()}")
    return {"scores": str(args.out), "requests": requests, "candidates": candidates, "seconds": seconds, **explained}


def _source(args: Namespace) -> Path:
    """What is read.

    Raises:
        UserError: it is not there, or there are two, or none.
    """
    if (args.requests is None) == (args.data is None):
        told = "both are" if args.data is not None else "neither is"
        raise UserError(f"score reads requests or a dataset, and {told} given; give REQUESTS or --data DATASET.")
    if args.data is not None:
        if not args.data.is_dir():
            raise UserError(f"--data {args.data} is no folder; give a prepared dataset.")
        data: Path = args.data
        return data
    request_parts(args.requests)
    requests: Path = args.requests
    return requests


def _score(args: Namespace, scorer: "Scorer", explanation: "TrustFile | None") -> tuple[int, int]:
    from pinfm.inference.files import score_file, score_frames

    if args.data is None:
        return score_file(scorer, args.requests, args.out, args.batch_size, explanation)
    frames = _reader()(args.data, args.split, scorer.max_history, args.batch_size)
    return score_frames(scorer, frames, args.out, args.batch_size, explanation)


def _reader() -> Callable[[Path, str, int, int], Iterator["pd.DataFrame"]]:
    """Reads requests of a dataset, which is training's: scoring does without it, and finds it where it is installed.

    Raises:
        UserError: it is not.
    """
    for point in entry_points(group=READERS, name="dataset"):
        reader: Callable[[Path, str, int, int], Iterator[pd.DataFrame]] = point.load()
        return reader
    raise UserError(f"nothing is installed under {READERS} that reads datasets for --data; install pinfm again.")
