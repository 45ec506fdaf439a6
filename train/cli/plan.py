"""Plan the id tables over ranks that need not be there: sharding, memory of every rank, communication."""

from pathlib import Path
from typing import Any, Literal

from jsonargparse import ArgumentParser, Namespace

from pinfm.embeddings.sharded.hardware import Hardware
from pinfm.train.cli.auto import tell_auto
from pinfm.train.cli.run_flags import add_config_flags, run_config
from pinfm.train.config import require_equal_shares
from pinfm.train.data.info import DatasetInfo

SUMMARY = "the sharding plan and memory of each rank, without the hardware"

# What is known of plans for GPUs; docs/performance.md has more.
OF_GPUS = "Times are TorchRec's estimates: pinfm has trained on one GPU (H200), and no plan of several has been run."


def configure(parser: ArgumentParser) -> None:
    """Adds the verb's flags."""
    add_config_flags(parser)
    parser.add_argument(
        "--data",
        type=Path | None,
        default=None,
        help="a prepared dataset, whose features --phase finetune plans",
    )
    parser.add_argument("--phase", type=Literal["pretrain", "finetune"], default="pretrain", help="whose batches count")
    parser.add_argument("--world-size", type=int, required=True, help="ranks")
    parser.add_argument("--ranks-per-node", type=int, default=8, help="ranks that share a machine")
    parser.add_argument("--hbm-gib", type=float, default=80.0, help="GPU memory of a rank; not read with --device cpu")
    parser.add_argument("--host-gib", type=float, default=0.0, help="host memory of a rank that tables may use")
    parser.add_argument("--intra-node-gb-s", type=float, default=450.0, help="bandwidth between ranks of a machine")
    parser.add_argument("--inter-node-gb-s", type=float, default=25.0, help="bandwidth of a rank between machines")


def run(args: Namespace) -> dict[str, Any]:
    """Plans and prints; the report holds every shard and every rank."""
    config = run_config(args)
    hardware = Hardware(
        device="cpu" if config.device == "cpu" else "cuda",
        world_size=args.world_size,
        ranks_per_node=args.ranks_per_node,
        hbm_gib=args.hbm_gib,
        host_gib=args.host_gib,
        intra_node_gb_s=args.intra_node_gb_s,
        inter_node_gb_s=args.inter_node_gb_s,
    )
    require_equal_shares(config.data_streams, hardware.world_size)
    if args.data is not None:
        DatasetInfo.read(args.data)
    tell_auto(args, config, None, leave_out="finetune." if args.phase == "pretrain" else "pretrain.")

    from pinfm.train.planning.plan import plan

    report = plan(config, hardware, args.phase, args.data)
    print(_tables(report["tables"]))
    print()
    print(_ranks(report["ranks"]))
    if hardware.device == "cuda":
        print(f"\n{OF_GPUS}")
    if args.phase == "finetune" and args.data is None:
        print("\nThe item tables alone: with --data those of the user id and of the features are planned too.")
    return report


def _tables(tables: list[dict[str, Any]]) -> str:
    lines = [f"{'table':<16}{'rows':>14}{'columns':>9}{'GiB':>9}  {'sharding':<13}{'kernel':<19}shards"]
    for t in tables:
        size = f"{t['table']:<16}{t['rows']:>14,}{t['columns']:>9}{t['gib']:>9.3f}"
        lines.append(f"{size}  {t['sharding']:<13}{t['kernel']:<19}{_shards(t['shards'])}")
    return "\n".join(lines)


def _shards(shards: list[dict[str, int]]) -> str:
    """How many, and how large the largest is; which rank has a table that is not cut."""
    largest = max(shards, key=lambda shard: shard["rows"] * shard["columns"])
    where = f" on rank {largest['rank']}" if len(shards) == 1 else ""
    return f"{len(shards)} of {largest['rows']:,} x {largest['columns']}{where}"


def _ranks(ranks: list[dict[str, Any]]) -> str:
    """Ranks that are alike stand in one line."""
    parts = [(memory, part) for memory in ("hbm", "host") for part in ranks[0][memory]]
    groups: dict[tuple[str, ...], list[int]] = {}
    for rank in ranks:
        values = (*(f"{rank[memory][part]:.3f}" for memory, part in parts), f"{rank['communication_ms']:.3f}")
        groups.setdefault(values, []).append(rank["rank"])
    heading = [*(f"{memory} {part}" for memory, part in parts), "comms ms"]
    lines = [f"{'rank':<10}" + "".join(f"{name:>16}" for name in heading) + "   (GiB; ms a step)"]
    for values, members in groups.items():
        name = f"{members[0]}" if len(members) == 1 else f"{members[0]} - {members[-1]}"
        if members != list(range(members[0], members[-1] + 1)):
            name = ",".join(map(str, members))
        lines.append(f"{name:<10}" + "".join(f"{value:>16}" for value in values))
    return "\n".join(lines)
