"""Export a fine-tuned run as one TorchScript module, checked against the run before it is written."""

from pathlib import Path
from typing import Any

from jsonargparse import ArgumentParser, Namespace

SUMMARY = "the TorchScript artefact, checked against the run"


def configure(parser: ArgumentParser) -> None:
    """Adds the verb's flags."""
    parser.add_argument("run", type=Path, help="a run of `pinfm finetune`")
    parser.add_argument("--out", type=Path, required=True, help="the model folder to write")
    parser.add_argument(
        "--dense-precision",
        choices=["fp32", "bf16"],
        default="fp32",
        help="of all but the tables; bf16 is for processors with bf16 products of their own",
    )


def run(args: Namespace) -> dict[str, Any]:
    """Exports; the report holds the parity."""
    from pinfm.inference.export import export

    parity = export(args.run, args.out, args.dense_precision)
    print(f"{args.out}: differs from the run by at most {parity['max_abs_diff']:.1e} on {parity['rows']} candidates")
    return {"artifact": str(args.out), "parity": parity}
