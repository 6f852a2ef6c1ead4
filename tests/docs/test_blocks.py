"""The Python blocks of the README and of the documentation run, top to bottom, one page as one program."""

from __future__ import annotations

import doctest
import importlib
import os
import pkgutil
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import pytest
from sybil import Sybil
from sybil.parsers.myst import PythonCodeBlockParser, SkipParser
from tests.forked import FORKED

import loopwright.core
import loopwright.policies

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*/*.md"))]
SYBIL = Sybil([PythonCodeBlockParser(), SkipParser()], path=str(ROOT))


def blocks(page: Path) -> int:
    return page.read_text("utf-8").count("```python")


@pytest.mark.parametrize(
    "page", [p for p in PAGES if blocks(p)], ids=lambda page: str(page.relative_to(ROOT))
)
def test_the_python_of_a_page_runs(page: Path, tmp_path: Path) -> None:
    # Each in a process of its own: what a page declares, a metric for instance, must not reach other tests.
    with ProcessPoolExecutor(1, mp_context=FORKED, max_tasks_per_child=1) as pool:
        pool.submit(run, page, tmp_path).result()


def run(page: Path, folder: Path) -> None:
    """Run every block of a page, one after the other, in `folder`."""
    os.chdir(folder)
    for example in SYBIL.parse(page).examples():
        example.evaluate()


MODULES = [
    module.name
    for package in (loopwright.core, loopwright.policies)
    for module in pkgutil.iter_modules(package.__path__, f"{package.__name__}.")
]


@pytest.mark.parametrize("name", MODULES)
def test_the_examples_in_docstrings_are_true(name: str) -> None:
    failed, _ = doctest.testmod(importlib.import_module(name))
    assert failed == 0


def test_there_are_examples_to_run() -> None:
    assert sum(map(blocks, PAGES[1:])) >= 1
    assert blocks(ROOT / "README.md") >= 1
