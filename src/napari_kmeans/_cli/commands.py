"""The program: a group of commands, of which `compress` is meant where none is named.

`main` is what the shell calls. What every command shares is here: the default command,
exit statuses, Ctrl-C, a standard output that cannot be written, completion of words.
"""

from __future__ import annotations

import contextlib
import difflib
import sys
from typing import TYPE_CHECKING, Any

import click

from napari_kmeans._cli.compress import apply, compress
from napari_kmeans._cli.curve import curve
from napari_kmeans._cli.info import info
from napari_kmeans._cli.inputs import is_found, reason
from napari_kmeans._cli.options import STDOUT
from napari_kmeans._cli.palette import palette
from napari_kmeans._cli.running import complain, leave_interrupted, one_line

if TYPE_CHECKING:
    from click.shell_completion import CompletionItem

__all__ = ["main"]

_EPILOG = """\b
Examples:
  napari-kmeans photo.jpg
      writes photo_compressed.png, in 16 colors
  napari-kmeans compress -k 64 -o small.png photo.jpg
  napari-kmeans palette -o photo.gpl photo.jpg
  napari-kmeans apply --palette photo.gpl -o same/ *.jpg
  napari-kmeans curve -o curve.png photo.jpg
  napari-kmeans info photo.jpg

\b
Options stand before or behind the name of a command. A file that is called
like a command is ./palette.

\b
Exit status:
  0    everything is done
  1    something failed, and a line on the error output says why
  2    wrong usage; nothing was done
  130  interrupted by Ctrl-C (143: by SIGTERM); files are either old or new

\b
Completion in the shell, to be put into its settings:
  bash  eval "$(_NAPARI_KMEANS_COMPLETE=bash_source napari-kmeans)"
  zsh   eval "$(_NAPARI_KMEANS_COMPLETE=zsh_source napari-kmeans)"
  fish  _NAPARI_KMEANS_COMPLETE=fish_source napari-kmeans | source
"""


class _Commands(click.Group):
    """Commands of which `compress` is meant where none is named."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Put the command first, also one that is left out, and keep all for errors."""
        if args and args[0] != "--version":
            place = self._first_word(args)
            first = args[place] if place < len(args) else ""
            if first in self.commands:
                args = [first, *args[:place], *args[place + 1 :]]
            elif args[0] in ctx.help_option_names:
                args = args[:1]
            elif ctx.resilient_parsing and place == len(args):
                args = []  # The command may still be typed.
            else:
                meant = difflib.get_close_matches(first, self.commands, 1, 0.7)
                if meant and not is_found(first) and first != "--":
                    ctx.fail(f"no command or image {first!r}, is {meant[0]!r} meant?")
                args = ["compress", *args]
        ctx.obj = args
        return super().parse_args(ctx, args)

    def _first_word(self, args: list[str]) -> int:
        """Return the place of the first word that is no option and no value of one.

        It may be behind the last word, and is farther behind if a value is missing.
        """
        options = [p for p in self._parameters() if isinstance(p, click.Option)]
        with_value = {name for p in options if not p.is_flag for name in p.opts}
        place = 0
        while place < len(args) and args[place][:1] == "-":
            word = args[place]
            if word in ("-", "--"):
                break
            # Short options may be one word, and what is left of it the value.
            names = [word] if word[:2] == "--" else [f"-{c}" for c in word[1:]]
            taking = [name in with_value for name in names]
            place += 2 if taking[-1] and not any(taking[:-1]) else 1
        return place

    def _parameters(self) -> list[click.Parameter]:
        """List the parameters of all commands."""
        return [param for some in self.commands.values() for param in some.params]

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command; Ctrl-C has the exit status that shells know it by.

        Errors about words of the call, which may be odd file names, are one line.
        """
        try:
            return super().invoke(ctx)
        except click.ClickException as error:
            # It is final for those who read it.
            error.message = one_line(error.message)  # type: ignore[misc]
            raise
        except KeyboardInterrupt as interrupt:
            click.echo("Interrupted", err=True)
            return leave_interrupted(interrupt)

    def main(self, *args: Any, **settings: Any) -> Any:
        """Run the program; an output that cannot be written is one line.

        Errors about files are handled where these are used: an error that arrives here,
        also from a help text, is about the standard output or the error output.
        """
        try:
            return super().main(*args, **settings)
        except OSError as error:
            with contextlib.suppress(OSError):
                complain(STDOUT, reason(error, STDOUT))
            for stream in (sys.stdout, sys.stderr):
                # Python would try again at the end. A stream that is closed is None.
                with contextlib.suppress(OSError, AttributeError):
                    stream.close()
            sys.exit(1)

    def shell_complete(
        self, ctx: click.Context, incomplete: str
    ) -> list[CompletionItem]:
        """Offer the commands, their options, and the files that `compress` takes."""
        found = super().shell_complete(ctx, incomplete)
        for command in self.commands.values():
            found += command.shell_complete(ctx, incomplete)
        files = click.Path().shell_complete(ctx, self.params[0], incomplete)
        # bash forgets the words before "files", and offers these if no word is left.
        return [*files, *{item.value: item for item in found}.values()]


@click.group(
    cls=_Commands,
    epilog=_EPILOG,
    context_settings={"help_option_names": ["-h", "--help"], "show_default": True},
)
@click.version_option(package_name="napari-kmeans", prog_name="napari-kmeans")
def main() -> None:
    """Reduce images to few colors by k-means, and make smaller files of them.

    `napari-kmeans IMAGE...` is short for `napari-kmeans compress IMAGE...`.
    """


for _command in (compress, apply, palette, curve, info):
    main.add_command(_command)
