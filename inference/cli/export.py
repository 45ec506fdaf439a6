"""Export a fine-tuned run as one TorchScript module, checked against the run before it is written."""

import json
from pathlib import Path
from typing import Any

from jsonargparse import ArgumentParser, Namespace

from pinfm.embeddings.files.new_folder import require_free
from pinfm.inference.cli.index import add_index_flags, index_options, index_sentence
from pinfm.inference.folders import MANIFEST, exportable_run
from pinfm.inference.options import ExportOptions
from pinfm.model.adaptation.config import TrustConfig, VectorAdaptationConfig

NOT_FASTER = "this processor has neither VNNI nor AMX: here layers in int8 are computed in float32, no faster."
SUMMARY = "the TorchScript artefact, checked against the run"


def configure(parser: ArgumentParser) -> None:
    """Adds the verb's flags."""
    parser.add_argument("run", type=Path, help="a run of `pinfm finetune`")
    parser.add_argument("--out", type=Path, required=True, help="the model folder to write")
    parser.add_argument(
        "--checkpoint",
        choices=["best", "newest"],
        default="best",
        help="of the run: the best on validation, which is the newest where it was not evaluated in training, or the "
        "newest",
    )
    parser.add_argument(
        "--precision", choices=["fp32", "fp16", "int8", "int4"], default="fp32", help="of the id tables"
    )
    parser.add_argument(
        "--max-auc-loss",
        type=float,
        default=0.002,
        help="refuse rounding, or an adaptation, that costs a task more than this on the requests that the run kept",
    )
    parser.add_argument(
        "--format",
        choices=["torchscript", "torchscript,aoti"],
        default="torchscript",
        help="aoti compiles the dense model ahead of time, for processors like this one (docs/aoti.md)",
    )
    parser.add_argument(
        "--layout",
        choices=["whole", "apart"],
        default="whole",
        help="tables inside scoring.pt, or apart in files that are mapped into memory",
    )
    parser.add_argument(
        "--dense-precision",
        choices=["fp32", "bf16", "int8"],
        default="fp32",
        help="of all but the tables; bf16 is for processors with bf16 products of their own, int8 (of the tower's "
        "layers) for those with VNNI or AMX",
    )
    parser.add_argument(
        "--adapt",
        choices=["none", "vectors", "trust"],
        default="none",
        help="what is done about histories that somebody tampered with (docs/robustness.md): trust drops events that "
        "the rest of the history disowns, vectors moves the vectors of all events",
    )
    add_index_flags(parser, "--index", required=False)
    parser.add_class_arguments(VectorAdaptationConfig, "vectors")
    parser.add_class_arguments(TrustConfig, "trust")


def run(args: Namespace) -> dict[str, Any]:
    """Exports; the report holds the parity."""
    options = ExportOptions(
        checkpoint=args.checkpoint,
        precision=args.precision,
        dense_precision=args.dense_precision,
        format=args.format,
        layout=args.layout,
        max_auc_loss=args.max_auc_loss,
        adapt=args.adapt,
        vectors=args.vectors,
        trust=args.trust,
        index=index_options(args.index, args.index_attributes, args.index_kind, "--index"),
    )
    run = exportable_run(args.run, options.adapt, options.dense_precision)
    require_free(args.out)

    from pinfm.inference.dense.packed import bytes_are_exact
    from pinfm.inference.export import export
    from pinfm.inference.parity import change_as_text

    parity = export(args.run, args.out, options)
    found = run.validated()
    if found is not None:
        of_best = f" ({found.told()})" if args.checkpoint == "best" else ""
        print(f"{args.out}: {run.checkpoint_at(args.checkpoint)}{of_best}")
    print(f"{args.out}: differs from the run by at most {parity['max_abs_diff']:.1e} on {parity['rows']} candidates")
    if options.rounded():
        errors = parity["auc_change_error"]
        changes = [f"{task} {change_as_text(change, errors[task])}" for task, change in parity["auc_change"].items()]
        print(f"AUC on them against fp32: {', '.join(changes)}")
    manifest = json.loads((args.out / MANIFEST).read_text())
    if args.dense_precision == "int8":
        precisions = [layer["precision"] for layer in manifest["dense_layers"].values()]
        print(f"{args.out}: {precisions.count('int8')} of the tower's {len(precisions)} layers in int8")
        if not bytes_are_exact(outputs=64, inputs=64):
            print(NOT_FASTER)
    adaptation = manifest["adaptation"]
    if args.adapt != "none":
        change = adaptation["change"]
        changes = [
            f"{task} {change_as_text(of_auc, change['auc_change_error'][task])}"
            for task, of_auc in change["auc_change"].items()
        ]
        print(
            f"--adapt {args.adapt} changes a probability by {change['mean_abs_change']:.1e} in the mean and "
            f"{change['max_abs_change']:.1e} at most; AUC {', '.join(changes)}"
        )
    if args.index is not None:
        from pinfm.inference.index.files import index_json

        print(index_sentence(args.out, index_json(args.out)))
    return {"artifact": str(args.out), "parity": parity, "adaptation": adaptation}
