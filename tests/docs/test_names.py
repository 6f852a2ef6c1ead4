"""All pages name the server, the key and the content type alike, so that a reader sets them once."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*/*.md"))]
NAMES = {
    "API": "http://127.0.0.1:8400/api/v1",
    "KEY": '"authorization: Bearer ',
    "JSON": '"content-type: application/json"',
}
ASKING = [page for page in PAGES if re.search(r"^(\$ )?curl ", page.read_text("utf-8"), re.M)]


def commands(page: Path) -> str:
    """Return the shell blocks of a page, prompts taken off."""
    blocks = re.findall(
        r"^```(?:sh|bash|console)\n(.*?)^```", page.read_text("utf-8"), re.DOTALL | re.MULTILINE
    )
    return "\n".join(re.sub(r"^\$ ", "", block, flags=re.M) for block in blocks)


def test_there_are_pages_that_ask_a_server() -> None:
    assert len(ASKING) > 5


@pytest.mark.parametrize("page", ASKING, ids=lambda page: str(page.relative_to(ROOT)))
def test_a_page_uses_one_set_of_names_and_sets_those_it_uses(page: Path) -> None:
    shell = commands(page)
    used = set(re.findall(r"\$\{?([A-Z_]+)\b", shell))
    assert used - {"REQUEST_ID"} <= set(NAMES), page
    for name in used & set(NAMES):
        (value,) = re.findall(rf"^{name}=(.*)$", shell, re.M)
        assert value.startswith(NAMES[name]), (page, name)
        assert shell.index(f"{name}=") < shell.index(f"${name}"), (page, name)
    for line in shell.splitlines():
        assert not re.search(r"curl .*https?://", line), line


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_a_server_on_this_machine_listens_on_its_usual_port(page: Path) -> None:
    ports = set(re.findall(r"(?:127\.0\.0\.1|localhost):(\d+)", page.read_text("utf-8")))
    assert ports <= {"8400", "5432"}, page
