"""How Sphinx builds the pages of this folder: `python3 dev.py docs`."""

import inspect
from importlib.metadata import version as _version

import click
from docutils import nodes
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective

from napari_kmeans._cli.commands import main as _program

project = "napari-kmeans"
author = "napari-kmeans developers"
project_copyright = f"2026, {author}"
release = version = _version("napari-kmeans")

extensions = [
    "myst_parser",
    "numpydoc",
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "sphinx_copybutton",
    "sphinx_design",
    "sphinx_gallery.gen_gallery",
]
exclude_patterns = ["_build", "_templates", "gallery"]
templates_path = ["_templates"]
nitpicky = True
# What is copied from a page must run.
smartquotes = False
nitpick_ignore_regex = [
    # Fields of records have no place of their own.
    ("py:obj", "axes|palette|scale"),
    # The pages of other projects are not looked at.
    ("py:obj", r"skimage\..*"),
]

myst_enable_extensions = ["colon_fence"]
myst_heading_anchors = 3

# Named, as otherwise only pages of an earlier build are looked through.
autosummary_generate = ["api/index.md"]
# Names in backticks are links where they are public names, as NumPy has it.
default_role = "autolink"
# Types stand below Parameters, in words.
autodoc_typehints = "none"
numpydoc_show_class_members = False

sphinx_gallery_conf = {
    "examples_dirs": "gallery",
    "gallery_dirs": "auto_gallery",
    "backreferences_dir": "api/examples",
    "doc_module": "napari_kmeans",
    "filename_pattern": r"\.py$",
    "abort_on_example_error": True,
    # What is printed tells, not what the last line returns.
    "capture_repr": (),
    "min_reported_time": 600,
    "download_all_examples": False,
    "show_memory": False,
    "show_signature": False,
    "write_computation_times": False,
}

copybutton_exclude = ".linenos, .gp, .go"

html_theme = "pydata_sphinx_theme"
html_title = project
html_logo = html_favicon = "_static/logo.svg"
html_static_path = ["_static"]
html_css_files = ["site.css"]
# Pages that are no sources, under the addresses that documents link to.
html_extra_path = ["report.html"]
html_show_sourcelink = False
html_context = {"default_mode": "auto"}
html_theme_options = {
    "github_url": "https://github.com/napari-kmeans/napari-kmeans",
    "header_links_before_dropdown": 6,
    "logo": {"text": project, "alt_text": ""},
    "navigation_with_keys": False,
    "footer_start": ["copyright"],
    "footer_end": [],
}


class _Commands(SphinxDirective):
    """Write what `--help` says of the program and each of its commands."""

    def run(self) -> list[nodes.Node]:
        """Return a section for each, in each build."""
        self.env.note_reread()
        settings = _program.context_settings
        program = click.Context(_program, info_name="napari-kmeans", **settings)
        commands = [
            click.Context(command, program, name)
            for name, command in _program.commands.items()
        ]
        text = "\n\n".join(map(_section, (program, *commands)))
        return self.parse_text_to_nodes(text, allow_section_headings=True)


def _section(context: click.Context) -> str:
    """Markdown about one command: usage, what it does, options, examples."""
    command, name = context.command, context.command_path
    usage = " ".join(command.collect_usage_pieces(context))
    told = inspect.cleandoc(command.help)
    parts = [f"## {name}", f"```text\n{name} {usage}\n```", told]
    parts += [f"```{{program}} {name}\n```"]
    for title, rare in (("Options", False), ("Rare options", True)):
        records = [
            _record(option, context)
            for option in command.get_params(context)
            if isinstance(option, click.Option)
            and getattr(option, "is_rare", False) == rare
        ]
        parts += [f"**{title}**"] if records else []
        parts += [f"```{{option}} {names}\n{text}\n```" for names, text in records]
    epilog = command.epilog.replace("\b\n", "").strip()
    return "\n\n".join([*parts, f"```text\n{epilog}\n```"])


def _record(option: click.Option, context: click.Context) -> tuple[str, str]:
    """Names of an option and what it does, with a default that `--help` leaves out."""
    names, text = option.get_help_record(context)
    is_left_out = option.show_default is False and isinstance(option.default, str)
    return names, f"{text} [default: {option.default}]" if is_left_out else text


def setup(app: Sphinx) -> None:
    """Add what is made here."""
    app.add_directive("commands", _Commands)
