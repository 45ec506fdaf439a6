"""What README, CONTRIBUTING and docs/ name is there: links, files, modules, flags, fields of a config."""

import io
import re
from contextlib import redirect_stdout, suppress
from dataclasses import fields, is_dataclass
from functools import cache
from importlib import import_module
from importlib.metadata import entry_points
from inspect import signature
from pathlib import Path

import pytest

from pinfm.torchx_specs import components
from pinfm.train.cli.main import main
from pinfm.train.cli.prepare import SOURCES
from pinfm.train.config import OptimizerConfig, RunConfig

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))]
FOLDERS = ("embeddings", "model", "train", "inference", "torchx_specs", "tests", "benchmarks", "examples", "docs")
# What else a command may begin with, and flags of theirs that a sentence names alone. --colour is a mistake on purpose.
OTHER_PROGRAMS = (
    "bash",
    "cmake",
    "docker",
    "export",
    "git",
    "gunicorn",
    "pip",
    "python",
    "sh",
    "torchrun",
    "torchx",
    "uv",
)
OTHER_FLAGS = {"--colour", "--extra", "--max-restarts", "--preload"}
FENCED = re.compile(r"^```\w*\n(.*?)^```", re.MULTILINE | re.DOTALL)


def code(page):
    """The code of a page: its blocks and its spans, the latter without line breaks."""
    prose = FENCED.sub("", page.read_text())
    indented = re.findall(r"^(?: {4}.*\n)+", prose, re.MULTILINE)
    spans = re.findall(r"`([^`]+)`", prose)
    return [*FENCED.findall(page.read_text()), *indented, *(" ".join(span.split()) for span in spans)]


def named_flags(page):
    """The flags in a page's code, but for those of lines that call another program."""
    for line in "\n".join(code(page)).replace("\\\n", " ").splitlines():
        ours = re.search(r"\b(?:pinfm|benchmarks)\b.*", line)
        if ours or line.split()[:1] == [] or line.split()[0] not in OTHER_PROGRAMS:
            yield from re.findall(r"(?<![\w-])(--[a-z][\w.-]*\w)", ours[0] if ours else line)


def slug(heading):
    """The anchor that GitHub gives a heading."""
    return re.sub(r"[^\w\- ]", "", heading.strip().lower()).replace(" ", "-")


@cache
def flags():
    """Every flag that a page may name."""
    lines = [[point.name, "--help"] for point in entry_points(group="pinfm.verbs")]
    lines += [["prepare", name, "--help"] for name in SOURCES]
    told = io.StringIO()
    for line in lines:
        with redirect_stdout(told), suppress(SystemExit):
            main(line)
    found = set(re.findall(r"^  (?:-\w, )?(--[\w.-]+)", told.getvalue(), re.MULTILINE))
    found |= {f"--{name}" for name in signature(components.pretrain).parameters}
    for path in (ROOT / "benchmarks").rglob("*.py"):
        found |= set(re.findall(r'add_argument\(\s*"(--[\w-]+)"', path.read_text()))
    return found | OTHER_FLAGS | {"--version"}


def test_the_pages_are_seen():
    assert {page.name for page in PAGES} >= {"README.md", "CONTRIBUTING.md", "design.md", "data.md", "operations.md"}
    assert {"--tower.num_layers", "--sampled-candidates", "--hbm-gib", "--seeds"} <= flags()


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page):
    for target in re.findall(r"\]\(([^)\s]+)\)", page.read_text()):
        if re.match(r"[a-z]+:", target):
            continue
        name, _, anchor = target.partition("#")
        path = page.parent / name if name else page
        assert path.exists(), target
        if anchor:
            headings = re.findall(r"^#+ (.*)$", path.read_text(), re.MULTILINE)
            assert anchor in map(slug, headings), target


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_flags_are_flags(page):
    assert sorted(set(named_flags(page)) - flags()) == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_files_are_there(page):
    for text in code(page):
        # With an ending or a stroke at the end: `examples/s` is a unit.
        for name in re.findall(rf"(?<![\w/.])((?:{'|'.join(FOLDERS)})/[\w./-]*(?:\.\w+|/))(?![\w{{*])", text):
            assert (ROOT / name).exists(), name


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_modules_and_what_they_hold_are_there(page):
    for text in code(page):
        for name in re.findall(r"\bbenchmarks\.(\w+)", text):
            assert (ROOT / "benchmarks" / f"{name}.py").exists(), name
        for name in re.findall(r"\bpinfm(?:\.\w+)+", text):
            assert name == "pinfm.verbs" or hasattr(components, name.split(".")[1]) or resolved(name), name


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_what_a_file_is_said_to_hold_is_there(page):
    """`train/build.py` `FinetuneModule.forward`: a file, and at once what stands in it."""
    for file, name in re.findall(r"`((?:\w+/)+\w+)\.py`\s+`([A-Za-z_]\w*(?:\.\w+)*)`", page.read_text()):
        resolved(f"pinfm.{file.replace('/', '.')}.{name}")


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_fields_of_a_config_are_fields(page):
    sections = {field.name: field.type for field in fields(RunConfig) if is_dataclass(field.type)}
    sections["optimizer"] = OptimizerConfig
    for text in code(page):
        named = re.fullmatch(rf"({'|'.join(sections)})\.(\w+)(:? .*)?", text)
        if named:
            assert named[2] in {field.name for field in fields(sections[named[1]])}, text


def resolved(name):
    """What a dotted name stands for."""
    found, parts = import_module("pinfm"), name.split(".")
    for length, part in enumerate(parts[1:], start=2):
        with suppress(ModuleNotFoundError):
            import_module(".".join(parts[:length]))
        found = getattr(found, part)
    return found
