"""The pages: every internal link and image leads somewhere, and every page is reached."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest
from _support.documents import DOCS, ROOT, pages

if TYPE_CHECKING:
    from pathlib import Path

SITE = [page for page in pages() if DOCS in page.parents]
REPOSITORY = "https://github.com/s1crets/s1crets/blob/main/"


def prose(page: Path) -> str:
    """Return a page without its code."""
    text = re.sub(r"^```.*?^```$", "", page.read_text(), flags=re.MULTILINE | re.DOTALL)
    return re.sub(r"`[^`\n]*`", "code", text)


def anchors(page: Path) -> set[str]:
    """Return the anchors of a page's headings, as MyST makes them."""
    headings = re.findall(r"^#{1,3} (.+)$", page.read_text(), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", one.lower()).replace(" ", "-") for one in headings}


def broken(page: Path, text: str) -> list[str]:
    """Return the targets of a page's links and images that do not exist."""
    found = []
    for target in re.findall(r"\]\(([^)\s]+)\)", text):
        path, _, anchor = target.partition("#")
        if path.startswith(REPOSITORY):
            file = ROOT / path.removeprefix(REPOSITORY)
        elif "://" in path:
            continue
        else:
            file = (page.parent / path).resolve() if path else page
        if not file.is_file() or (anchor and anchor not in anchors(file)):
            found.append(target)
    return found


def roles(text: str) -> list[str]:
    """Return the roles of Sphinx in a text, which GitHub shows as they are written."""
    return re.findall(r"(\{[\w:+-]+\})code", text)


def without_text(text: str) -> list[str]:
    """Return the targets of links that show nothing."""
    return re.findall(r"(?<!!)\[\s*\]\(([^)]*)\)", text)


def invisible(text: str) -> list[str]:
    """Return the files that only Sphinx' directives of a page refer to."""
    files = re.findall(r"^```\{literalinclude\} (\S+)$", text, re.MULTILINE)
    for tree in re.findall(r"^```\{toctree\}\n(.*?)^```", text, re.MULTILINE | re.DOTALL):
        files += [f"{line}.md" for line in tree.splitlines() if line and not line.startswith(":")]
    return [one for one in files if f"]({one})" not in text]


@pytest.mark.parametrize("page", SITE, ids=lambda page: str(page.relative_to(DOCS)))
def test_links_and_images_lead_somewhere(page: Path) -> None:
    """To a page, a heading, an image, or a file of the repository."""
    assert broken(page, prose(page)) == []


@pytest.mark.parametrize("page", pages(), ids=lambda page: str(page.relative_to(ROOT)))
def test_links_have_a_text(page: Path) -> None:
    """Sphinx would put a page's title where none is; on GitHub such a link can't be seen."""
    assert without_text(prose(page)) == []


@pytest.mark.parametrize("page", pages(), ids=lambda page: str(page.relative_to(ROOT)))
def test_links_work_on_github(page: Path) -> None:
    """Such as those to files, which are not links there if Sphinx has a role for them."""
    assert roles(prose(page)) == []


def test_every_page_is_in_a_table_of_contents() -> None:
    """Once."""
    listed = []
    for page in SITE:
        for tree in re.findall(
            r"^```\{toctree\}\n(.*?)^```", page.read_text(), re.MULTILINE | re.DOTALL
        ):
            names = [line for line in tree.splitlines() if line and not line.startswith(":")]
            listed += [(page.parent / f"{name}.md").resolve() for name in names]

    assert sorted(listed) == sorted(page for page in SITE if page != DOCS / "index.md")


@pytest.mark.parametrize("page", SITE, ids=lambda page: str(page.relative_to(DOCS)))
def test_what_only_sphinx_shows_has_a_link_too(page: Path) -> None:
    """On GitHub, a table of contents and an included file would lead nowhere."""
    assert invisible(page.read_text()) == []


def test_what_is_wrong_is_found() -> None:
    """The checks of this file can fail."""
    page = DOCS / "index.md"
    text = "[a](tutorial.md#install) [b](tutorial.md#no) ![c](no.svg) [d](https://e.org/x)"

    assert broken(page, text) == ["tutorial.md#no", "no.svg"]
    assert without_text("[a](b) ![](image.svg) [](page.md#x) [ ](c)") == ["page.md#x", "c"]
    assert invisible("```{literalinclude} a.py\n```\n[b](b.md)\n```{toctree}\nb\nc\n```\n") == [
        "a.py", "c.md"
    ]  # fmt: skip
    assert roles("a {download}code b") == ["{download}"]
    assert broken(page, f"[a]({REPOSITORY}no.md)") == [f"{REPOSITORY}no.md"]
