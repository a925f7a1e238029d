"""Sphinx: the Markdown files that a Git host shows become pages, with a search that needs no server.

The table of contents is the links of the pages in INDEXES. A link to a folder leads to a list of its files.
"""

import os
import re
import shutil
from collections.abc import Iterator
from pathlib import Path

from docutils import nodes
from sphinx.addnodes import download_reference, pending_xref
from sphinx.application import Sphinx

ROOT = Path(__file__).resolve().parent.parent
INDEXES = ("docs/index", "docs/decisions/README", "examples/README")
_HOME = '<!DOCTYPE html><title>Docs</title><meta http-equiv="refresh" content="0; url=docs/index.html">'
_LINK = re.compile(r"\]\(([^)\s#]+\.md)\)")

project = "ElasticRecode"
extensions = ["myst_parser"]
include_patterns = ["*.md", "docs/**.md", "client/*.md", "examples/**.md", "web/**.md"]
exclude_patterns = ["**/node_modules", ".*", "cdk.out"]
root_doc = "docs/index"
nitpicky = True
myst_heading_anchors = 4
myst_enable_extensions = ["attrs_block"]
suppress_warnings = ["misc.highlighting_failure"]
highlight_language = "none"
html_theme = "furo"
html_title = "ElasticRecode"
html_copy_source = False
html_show_sphinx = False
html_show_copyright = False


def setup(app: Sphinx) -> None:
    """Connect the events below."""
    app.connect("source-read", _add_contents)
    app.connect("doctree-read", _link_folders, priority=100)  # before downloads are collected
    app.connect("html-collect-pages", _list_folders)
    app.connect("build-finished", _finish)


def _add_contents(app: Sphinx, page: str, source: list[str]) -> None:
    """Add a hidden table of contents to each index: one of each section, with the pages that the section links."""
    if page not in INDEXES:
        return
    trees = []
    for section in re.split(r"^## ", source[0], flags=re.MULTILINE):
        caption, _, text = section.partition("\n")
        linked = [Path(os.path.normpath(Path(page).parent / link)).as_posix() for link in _LINK.findall(text)]
        entries = "\n".join(f"/{link.removesuffix('.md')}" for link in dict.fromkeys(linked))
        if entries:
            title = "" if caption.startswith("#") else f":caption: {caption}\n"
            trees.append(f"\n```{{toctree}}\n:hidden:\n{title}\n{entries}\n```\n")
    source[0] += "".join(trees)


def _link_folders(app: Sphinx, page: nodes.document) -> None:
    """Link folders to lists of their files, and HTML pages to copies with all that they load."""
    name = app.env.docname
    for node in [*page.findall(pending_xref), *page.findall(download_reference)]:
        target = ((ROOT / name).parent / node["reftarget"]).resolve()
        if target.is_dir():
            folder, link = target, target / "index"
        elif target.suffix == ".html":
            folder, link = target.parent, target.with_suffix("")
        else:
            continue
        app.env.__dict__.setdefault("folders", set()).add(folder.relative_to(ROOT).as_posix())
        uri = app.builder.get_relative_uri(name, link.relative_to(ROOT).as_posix())
        node.replace_self(nodes.reference("", "", *node.children, refuri=uri, internal=True))


def _list_folders(app: Sphinx) -> Iterator[tuple[str, dict[str, str], str]]:
    """A page for each linked folder, which lists its files."""
    for path in sorted(getattr(app.env, "folders", ())):
        files = sorted(file.relative_to(ROOT / path) for file in _files(path))
        items = "".join(f'<li><a href="{file}">{file}</a></li>' for file in files)
        if (ROOT / path / "index.html").exists():
            continue
        yield f"{path}/index", {"title": path, "body": f"<h1>{path}</h1><ul>{items}</ul>"}, "page.html"


def _finish(app: Sphinx, error: Exception | None) -> None:
    """Copy the files of linked folders, and lead from the folder of the build to the first page."""
    if error or app.builder.format != "html":
        return
    for path in getattr(app.env, "folders", ()):
        for file in _files(path):
            target = Path(app.outdir) / file.relative_to(ROOT)
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(file, target)
    (Path(app.outdir) / "index.html").write_text(_HOME)


def _files(path: str) -> Iterator[Path]:
    """The files of a folder that a reader may want: no caches, no hidden files."""
    for file in (ROOT / path).rglob("*"):
        hidden = any(part.startswith((".", "__")) for part in file.relative_to(ROOT / path).parts)
        if file.is_file() and not hidden:
            yield file
