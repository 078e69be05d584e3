"""Check the built pages, as a reader without the internet meets them.

    python3 dev.py docs
    .venv/bin/python tests/pages.py

Every link inside leads to a file and, where it names one, to a place in it; so does
every link to the site or into the repository in texts that stand elsewhere. Pages load
nothing from other hosts. Every public name, and every option of every command, has a
place.
"""

import re
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urldefrag, urlsplit

import click

import napari_kmeans
from napari_kmeans._cli.commands import main as program

ROOT = Path(__file__).parents[1]
HTML = ROOT / "docs" / "_build" / "html"
HOME = HTML / "index.html"
SITE = "https://napari-kmeans.github.io/napari-kmeans/"
# Where GitHub shows a file, a folder, and the bytes of a file.
REPOSITORY = re.compile(
    r"https://github\.com/napari-kmeans/napari-kmeans/(?:blob|tree|raw)/main/"
    r"|https://raw\.githubusercontent\.com/napari-kmeans/napari-kmeans/main/"
)
ADDRESS = re.compile(r"https://[^\s\"'<>)\]}`]+")
LOADED = re.compile(r"(?:url\(|@import)\s*[\"']?((?:https?:)?//[^\"')\s]+)")


class Page(HTMLParser):
    """Links of a page, what it loads, and the places in it."""

    def __init__(self, path):
        super().__init__()
        self.links, self.loaded, self.places = [], [], set()
        self.feed(path.read_text(encoding="utf-8"))

    def handle_starttag(self, tag, attrs):
        for name, value in attrs:
            if name in ("id", "name"):
                self.places.add(value)
            elif name == "href" and tag == "a":
                self.links.append(value)
            elif name in ("href", "src", "poster", "data", "action"):
                self.loaded.append(value)
            elif name == "srcset":
                self.loaded += [part.split()[0] for part in value.split(",")]


def faults_of_pages(pages):
    """Yield what is wrong with links of pages, and with what they load."""
    for path, page in pages.items():
        name = path.relative_to(HTML)
        for address in page.loaded:
            if urlsplit(address).netloc:
                yield f"{name} loads {address}"
        for address in page.links + page.loaded:
            if address.startswith(SITE):
                is_dead = not leads_somewhere(address.removeprefix(SITE), HOME, pages)
            else:
                is_inside = urlsplit(address)[:2] == ("", "")
                is_dead = is_inside and not leads_somewhere(address, path, pages)
            if is_dead:
                yield f"{name} links to {address}"
    for path in HTML.rglob("*.css"):
        for address in LOADED.findall(path.read_text(encoding="utf-8")):
            yield f"{path.relative_to(HTML)} loads {address}"


def leads_somewhere(link, source, pages):
    """Tell whether a link from a page has a target."""
    parts = urlsplit(link)
    path, place = unquote(parts.path), unquote(parts.fragment)
    target = (source.parent / path).resolve() if path else source
    if not target.is_file():
        return False
    return not place or target not in pages or place in pages[target].places


def faults_of_texts(pages):
    """Yield the dead links of committed texts to the site and the repository."""
    found = subprocess.run(
        ["git", "grep", "-hoIE", "https://[^ ]*napari-kmeans/[^ ]*"],
        cwd=ROOT,
        capture_output=True,
        check=True,
        text=True,
    )
    for address in sorted(set(ADDRESS.findall(found.stdout))):
        address = address.rstrip(".,;:")
        if address.startswith(SITE):
            is_dead = not leads_somewhere(address.removeprefix(SITE), HOME, pages)
        else:
            path = REPOSITORY.sub("", urldefrag(address).url)
            is_dead = path != address and not (ROOT / path).exists()
        if is_dead:
            yield f"a text links to {address}"


def faults_of_names(pages):
    """Yield the public names that have no page, or are in no table."""
    index = HTML / "api" / "index.html"
    for name in dir(napari_kmeans):
        path = HTML / "api" / f"napari_kmeans.{name}.html"
        if name == "__version__":
            continue
        if path not in pages or f"napari_kmeans.{name}" not in pages[path].places:
            yield f"{name} has no page"
        elif f"{path.name}#napari_kmeans.{name}" not in pages[index].links:
            yield f"{name} is in no table"


def faults_of_options(pages):
    """Yield the options of commands that have no place."""
    places = pages[HTML / "options.html"].places
    top = click.Context(program, info_name="napari-kmeans")
    commands = [click.Context(c, top, name) for name, c in program.commands.items()]
    for context in (top, *commands):
        path = context.command_path.replace(" ", "-")
        for param in context.command.get_params(context):
            if isinstance(param, click.Option):
                for name in param.opts:
                    if f"cmdoption-{path}-{name.lstrip('-')}" not in places:
                        yield f"{context.command_path} {name} has no place"


def main():
    """Print what is wrong with the pages, and fail if anything is."""
    paths = [path for path in HTML.rglob("*.html") if "_static" not in path.parts]
    pages = {path: Page(path) for path in sorted(paths)}
    faults = [
        *faults_of_pages(pages),
        *faults_of_texts(pages),
        *faults_of_names(pages),
        *faults_of_options(pages),
    ]
    if faults:
        sys.exit("\n".join(faults))


if __name__ == "__main__":
    main()
