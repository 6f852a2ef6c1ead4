"""How the house is built, measured on its syntax trees: sizes, a test file for every module, no private reads in tests.

Sizes say where to look again, not how to write. What is over a limit today is listed here, and leaves the list once it
is split.
"""

from __future__ import annotations

import ast
import re
from functools import cache
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).parents[2]
SRC: Final = ROOT / "src" / "loopwright"
TESTS: Final = ROOT / "tests"
UNIT: Final = TESTS / "unit"

MOST_LINES, MOST_IN_FUNCTION, MOST_METHODS = 400, 60, 20

LONG_FILES: Final[frozenset[str]] = frozenset()
LONG_FUNCTIONS: Final[frozenset[str]] = frozenset()
LARGE_CLASSES: Final[frozenset[str]] = frozenset()

WITHOUT_NAMESAKE: Final[frozenset[str]] = frozenset()
"""Modules with logic that only other test files prove. Write the file of their name, drop the line."""

_Function = ast.FunctionDef | ast.AsyncFunctionDef


@cache
def trees() -> list[tuple[str, ast.Module, int]]:
    """Return path, syntax tree and number of lines of every module, parsed once."""
    return [
        (path.relative_to(SRC).as_posix(), ast.parse(text := path.read_text()), text.count("\n"))
        for path in sorted(SRC.rglob("*.py"))
    ]


def over(found: dict[str, int], limit: int) -> dict[str, int]:
    return {name: size for name, size in found.items() if size > limit}


def compare(found: dict[str, int], known: frozenset[str]) -> None:
    """Fail when something new is over the limit, or is under it and still listed."""
    grown = {name: size for name, size in found.items() if name not in known}
    assert not grown, f"over the limit: split it {grown}"
    mended = sorted(known - found.keys())
    assert not mended, f"within the limit: take it off the list {mended}"


def test_files_stay_short() -> None:
    compare(over({name: lines for name, _, lines in trees()}, MOST_LINES), LONG_FILES)


def test_functions_stay_short() -> None:
    sizes = {
        f"{name}:{node.name}": (node.end_lineno or 0) - node.lineno + 1
        for name, tree, _ in trees()
        for node in ast.walk(tree)
        if isinstance(node, _Function)
    }
    compare(over(sizes, MOST_IN_FUNCTION), LONG_FUNCTIONS)


def test_classes_have_few_methods() -> None:
    sizes = {
        f"{name}:{node.name}": sum(isinstance(part, _Function) for part in node.body)
        for name, tree, _ in trees()
        for node in ast.walk(tree)
        if isinstance(node, ast.ClassDef)
    }
    compare(over(sizes, MOST_METHODS), LARGE_CLASSES)


def has_logic(tree: ast.Module) -> bool:
    """Say whether a module has a function, or a class with a method whose body does something."""
    classes = [node for node in tree.body if isinstance(node, ast.ClassDef)]
    functions = [node for node in tree.body if isinstance(node, _Function)]
    methods = [node for cls in classes for node in cls.body if isinstance(node, _Function)]
    return any(_does_something(node) for node in [*functions, *methods])


def _does_something(function: _Function) -> bool:
    """Say whether a body is more than a docstring and an ellipsis, as a protocol's is."""
    return not all(
        isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)
        for node in function.body
    )


def test_every_module_with_logic_has_a_test_file_of_its_name() -> None:
    missing = set()
    for name, tree, _ in trees():
        path = Path(name)
        namesake = UNIT / path.parent / f"test_{path.name}"
        if not path.name.startswith("__") and has_logic(tree) and not namesake.exists():
            missing.add(name)
    assert sorted(missing - WITHOUT_NAMESAKE) == [], "write the test file"
    assert sorted(WITHOUT_NAMESAKE - missing) == [], "it has a test file: take it off the list"


ALLOWED: Final = frozenset(
    {
        "os._exit",  # the standard library ends a process without clean-up under this name
        "loop._opened",  # `old_folder.inside` asks one folder of the parts behind the embedded loop
    }
)


class Reads(ast.NodeVisitor):
    """Collects attributes with one leading underscore of anything but `self` and `cls`."""

    def __init__(self) -> None:
        self.found: list[str] = []

    def visit_Attribute(self, node: ast.Attribute) -> None:
        is_private = node.attr.startswith("_") and not node.attr.startswith("__")
        is_own = isinstance(node.value, ast.Name) and node.value.id in ("self", "cls")
        if is_private and not is_own and ast.unparse(node) not in ALLOWED:
            self.found.append(f"{node.lineno}: {ast.unparse(node)}")
        self.generic_visit(node)


def test_no_test_reads_a_private_attribute() -> None:
    found = []
    for path in sorted(TESTS.rglob("*.py")):
        # These run on the tree of November, whose parts had no public names.
        if "2026_11" in path.name or path.name.startswith("november"):
            continue
        reads = Reads()
        reads.visit(ast.parse(path.read_text()))
        found += [f"{path.relative_to(ROOT)}:{read}" for read in reads.found]
    assert found == [], "use a public name"


COUNTS: Final = ("eventlog", "backends", "testing")
"""Packages that may count with offsets: a log in partitions has an order, but no distances."""

_OFFSET: Final = re.compile(
    r"(^|_)(offset|after|through|head|watermark|stands_at|position|as_of)$|^applied$"
)
"""Names under which the code keeps offsets."""

OTHERS: Final = {
    "cli/simulate_limits.py": {"position * _WIDTH"},
    "feedback/identity.py": {"head + place.to_bytes(4, 'big')"},
    "insights/course.py": {"position + 1"},
    "stats/trend.py": {"after - before", "after ** 2"},
    "warehouse/period.py": {
        "self.wall_ms(after) - after",
        "offset // timedelta(milliseconds=1)",
        "after - before",
        "before + after",
    },
}
"""Arithmetic of such names that are no offsets of the log: bytes, places in lists, instants, offsets of time zones."""


def operands(node: ast.AST) -> list[ast.expr]:
    """Return what a node computes with."""
    match node:
        case ast.BinOp(left=left, op=op, right=right) if not isinstance(op, ast.BitOr):
            return [left, right]
        case ast.AugAssign(target=target):
            return [target]
        case ast.Call(func=ast.Name(id="int" | "range" | "Offset"), args=args):
            return args
        case _:
            return []


def named_last(node: ast.expr) -> str:
    """Return the last name of an expression: `head` of `self.log.head()`, `log_offset` of `row["log_offset"]`."""
    match node:
        case ast.Call(func=ast.Name(id="min" | "max"), args=[ast.expr() as first, *_]):
            return named_last(first)
        case ast.Call(func=func):
            return named_last(func)
        case ast.Attribute(attr=name) | ast.Name(id=name):
            return name
        case ast.Subscript(slice=ast.Constant(value=str(name))):
            return name
        case _:
            return ""


def test_only_the_log_counts_with_offsets() -> None:
    found: dict[str, set[str]] = {}
    for name, tree, _ in trees():
        if name.split("/")[0] in COUNTS:
            continue
        for node in ast.walk(tree):
            if any(_OFFSET.search(named_last(operand)) for operand in operands(node)):
                found.setdefault(name, set()).add(ast.unparse(node))
    assert found == OTHERS, "ask `eventlog.Reader` for `at`, `pick`, `newest` or `count`"
