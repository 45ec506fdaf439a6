"""Help, the version and mistakes come without torch, pandas or DuckDB, which take seconds and most of a gibibyte."""

import json
import subprocess
import sys
from importlib.metadata import entry_points

import pytest

from pinfm.train.cli.prepare import SOURCES

# Whatever pinfm depends on, but jsonargparse and PyYAML, which read the flags.
HEAVY = {
    *("torch", "torchrec", "fbgemm_gpu", "torchx", "torchmetrics", "tensorboard", "tensordict"),
    *("duckdb", "numpy", "pandas", "pyarrow", "tqdm"),
}
# Of the standard library and of the two: 180 to 250, by version.
MOST_MODULES = 400

VERBS = sorted(point.name for point in entry_points(group="pinfm.verbs"))
HELP = ["--help", "--version", *(f"{verb} --help" for verb in VERBS), *(f"prepare {name} --help" for name in SOURCES)]
MISTAKES = [
    "fly",
    "pretrain --colour red",
    "pretrain --data NOWHERE --out NEW --config atlantis",
    "pretrain --data NOWHERE --out NEW --config ml1m --tower.dropout 1.5",
    "pretrain --data NOWHERE --out NEW",
    "finetune --data NOWHERE --out NEW --config kuairand",
    "finetune --data NOWHERE --out NEW --config auto",
    "plan --world-size 2 --config auto",
    "evaluate NOWHERE --data NOWHERE",
    "evaluate NOWHERE --data NOWHERE --split monday",
    "export NOWHERE --out NEW",
    "export NOWHERE --out NEW --max-auc-loss -1",
    "export NOWHERE --out NEW --adapt trust --trust.threshold 1",
    "export NOWHERE --out NEW --adapt trust --vectors.steps 1",
    "export NOWHERE --out NEW --vectors.steps 1",
    "score NOWHERE nowhere.parquet --out NEW",
    "latency NOWHERE",
    "latency NOWHERE --threads 0",
    "interactions --data NOWHERE --out NEW",
    "interactions --data NOWHERE --out NEW --forms guess",
    "interactions --data NOWHERE --out NEW --seeds 0",
    "interactions --data NOWHERE --out NEW --memory-gib 0",
    "plan --world-size 0",
    "plan --world-size 3",
    "plan --world-size 8 --data NOWHERE",
    "quickstart --out NEW --config atlantis",
    "prepare",
    "prepare nothing --out NEW",
    "prepare events --out NEW",
    "prepare events nowhere.parquet --out NEW --actions [click]",
    "prepare events nowhere.parquet --out NEW --actions [click] --positive-actions [save]",
    "prepare events nowhere.parquet --out NEW --actions [click] --test-start monday",
    "prepare movielens NOWHERE --out NEW",
    "prepare movietweetings NOWHERE --out NEW",
    "prepare kuairand NOWHERE --out NEW",
    "prepare simulate --out NEW --num-users 0",
]
SCRIPT = """
import contextlib, io, json, sys
from pinfm.train.cli.main import main

found = {}
for line in json.loads(sys.argv[1]):
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
        try:
            status = main(line.split())
        except SystemExit as end:
            status = end.code
    found[line] = (status, sorted(sys.modules))
print(json.dumps(found))
"""


@pytest.fixture(scope="module")
def found(tmp_path_factory):
    """line -> (status, modules imported by then), of a process that takes all lines, one after the other."""
    command = [sys.executable, "-c", SCRIPT, json.dumps([*HELP, *MISTAKES])]
    folder = tmp_path_factory.mktemp("startup")
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=True)
    assert list(folder.iterdir()) == []
    return json.loads(done.stdout)


@pytest.mark.parametrize("line", HELP)
def test_help_imports_what_flags_need(found, line):
    status, modules = found[line]
    assert status == 0
    assert HEAVY & {module.split(".")[0] for module in modules} == set()


@pytest.mark.parametrize("line", MISTAKES)
def test_a_mistake_is_told_before_anything_heavy_is_imported(found, line):
    status, modules = found[line]
    assert status == 2
    assert HEAVY & {module.split(".")[0] for module in modules} == set()


def test_few_modules_are_imported(found):
    assert max(len(modules) for _, modules in found.values()) < MOST_MODULES


def test_what_exists_is_looked_at_as_early(dataset, pretrained, finetuned, exported, tmp_path):
    taken = [
        f"prepare simulate --out {dataset}",
        f"pretrain --data {dataset} --out {pretrained}",
        f"finetune --data {dataset} --out {finetuned}",
        f"finetune --data {dataset} --out NEW --pretrained NOWHERE",
        f"finetune --data {dataset} --out NEW --finetune.freeze_tower true",
        f"evaluate {finetuned} --data NOWHERE",
        f"export {finetuned} --out {dataset}",
        f"export {pretrained} --out NEW",
        f"export {finetuned} --out NEW --vectors.radius 1",
        f"score {exported} {finetuned}/requests.parquet --out {exported}/scores.parquet",
        f"score {exported} {finetuned}/requests.parquet --out {finetuned}",
        f"score {exported} {finetuned}/requests.parquet --out NEW --batch-size 0",
        f"score {finetuned} {finetuned}/requests.parquet --out NEW",
        f"score {exported} {finetuned}/requests.parquet --out NEW --explain ALSO",
        f"latency {finetuned}",
        f"interactions --data {dataset} --out NEW --forms guess",
        f"interactions --data {dataset} --out NEW --forms dot --baseline guess",
    ]
    command = [sys.executable, "-c", SCRIPT, json.dumps(taken)]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=True)
    for line, (status, modules) in json.loads(done.stdout).items():
        assert status == 2, line
        assert HEAVY & {module.split(".")[0] for module in modules} == set(), line
