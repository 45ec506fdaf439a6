"""Imports point one way: embeddings <- model <- {train, inference} <- torchx_specs; and importing does nothing."""

import ast
import subprocess
import sys
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
# What each top-level folder may import of ours.
MAY_IMPORT = {
    "embeddings": {"embeddings"},
    "model": {"embeddings", "model"},
    "train": {"embeddings", "model", "train"},
    "inference": {"embeddings", "model", "inference"},
    "torchx_specs": {"embeddings", "model", "train", "inference", "torchx_specs"},
}
# The parts of embeddings/ that need TorchRec or fbgemm; model/ must do without them.
NEED_TORCHREC = tuple(f"pinfm.embeddings.{name}" for name in ("sharded", "id_map", "managed", "quantize"))
MODEL_MAY_IMPORT = {*sys.stdlib_module_names, "torch", "pinfm"}
FILES = sorted(path for folder in MAY_IMPORT for path in (ROOT / folder).rglob("*.py"))


def module_name(path: Path) -> str:
    """The name under which a file is imported."""
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(("pinfm", *parts)).removesuffix(".__init__")


def imports(path: Path) -> Iterator[str]:
    """Every module that a file names in an import, wherever in the file; relative ones with their dots."""
    for node in ast.walk(ast.parse(path.read_text(), str(path))):
        if isinstance(node, ast.Import):
            yield from (name.name for name in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield "." * node.level + (node.module or "")
            if node.module and node.module.startswith("pinfm"):
                yield from (f"{node.module}.{name.name}" for name in node.names)


def strays(path: Path) -> list[str]:
    """The imports of a file that its folder may not have."""
    folder = path.relative_to(ROOT).parts[0]
    found = []
    for name in imports(path):
        top, *rest = name.split(".")
        if (
            name.startswith(".")
            or top in MAY_IMPORT
            or (top == "pinfm" and rest and rest[0] not in MAY_IMPORT[folder])
            or (folder == "model" and (top not in MODEL_MAY_IMPORT or name.startswith(NEED_TORCHREC)))
        ):
            found.append(name)
    return found


def test_the_tree_is_seen():
    assert {path.relative_to(ROOT).parts[0] for path in FILES} == set(MAY_IMPORT)


@pytest.mark.parametrize("path", FILES, ids=module_name)
def test_imports_point_one_way(path):
    assert strays(path) == []


@pytest.mark.parametrize(
    "line", ["import torchrec", "from pinfm.train import loop", "from . import dcat", "import model"]
)
def test_a_stray_import_is_found(monkeypatch, tmp_path, line):
    monkeypatch.setattr(f"{__name__}.ROOT", tmp_path)
    (tmp_path / "model").mkdir()
    stray = tmp_path / "model" / "stray.py"
    stray.write_text(f"def late():\n    {line}\n")
    assert strays(stray)


@pytest.mark.parametrize("path", FILES, ids=module_name)
def test_every_module_imports(path):
    assert import_module(module_name(path)).__file__ == str(path)


def test_what_needs_torchrec_is_listed():
    files = [path for path in FILES if path.is_relative_to(ROOT / "embeddings")]
    needy = [path for path in files if any(name.split(".")[0] in {"torchrec", "fbgemm_gpu"} for name in imports(path))]
    assert needy
    assert [path for path in needy if not module_name(path).startswith(NEED_TORCHREC)] == []


def works_at_import(path: Path) -> list[str]:
    """The statements at the top of a module that do more than import, define and assign."""
    inert = (ast.Import, ast.ImportFrom, ast.FunctionDef, ast.ClassDef, ast.Assign, ast.AnnAssign)
    # The check that comes before the first import of torchrec; imports for type checkers; the last lines of a script.
    allowed = ("require_tested_versions()", "if TYPE_CHECKING:", "if __name__ == '__main__':")
    tree = ast.parse(path.read_text())
    statements = tree.body[ast.get_docstring(tree) is not None :]
    texts = [ast.unparse(node) for node in statements if not isinstance(node, inert)]
    return [text for text in texts if not text.startswith(allowed)]


@pytest.mark.parametrize("path", FILES, ids=module_name)
def test_importing_does_nothing(path):
    assert works_at_import(path) == []


TORCH_ALONE = """
import importlib, os, sys

class Blocker:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in {blocked}:
            raise ModuleNotFoundError("blocked: " + name)

sys.meta_path.insert(0, Blocker())
for name in {modules}:
    importlib.import_module(name)
assert os.listdir() == [], "an import wrote files"
"""


def test_the_model_needs_torch_alone(tmp_path):
    blocked = {"torchrec", "fbgemm_gpu", "torchx", "pandas", "pyarrow", "duckdb", "jsonargparse", "yaml", "tqdm"}
    modules = [module_name(path) for path in FILES if path.relative_to(ROOT).parts[0] in {"model", "embeddings"}]
    script = TORCH_ALONE.format(
        modules=[name for name in modules if not name.startswith(NEED_TORCHREC)], blocked=blocked
    )
    done = subprocess.run([sys.executable, "-c", script], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
