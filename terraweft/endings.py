"""How a command ends: `guarded` and `Commands` make one line and an exit code of whatever comes.

0: done; 1: something is wrong with data or sources; 2: a mistake of the user's, which the line says; 130: interrupted;
141: what is printed has no reader any more.
"""

from __future__ import annotations

import errno
import logging
import os
import re
import select
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path
from typing import Any, TypeVar

import typer
from rich.console import Console
from rich.segment import Segment
from typer.core import TyperGroup

from schemas.errors import TerraweftError, UserError
from shards.guard import masked

log = logging.getLogger(__name__)

Result = TypeVar("Result")
recipe_file: ContextVar[Path | None] = ContextVar("recipe_file", default=None)
"""The recipe that the command was given: rooms name the key that is wrong, and do not know where it stands."""
KEY = re.compile(r"[a-z_]+([.\[][\w-]+\]?)*")
"""What a key of a recipe looks like: no path, no address, no option."""
DISK = (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EIO)
"""What a disk answers that takes no more; a write into an open file names no path."""
MENDS = {
    **dict.fromkeys(DISK, "make room, or mend the disk, and run the same command again"),
    **dict.fromkeys((errno.EEXIST, errno.ENOTDIR), "a file lies where a folder is needed: give another path"),
    errno.EISDIR: "a folder lies where a file is needed: give another path",
    errno.ENOENT: "look for a mistake in the path",
    **dict.fromkeys((errno.EACCES, errno.EPERM), "get the right to it, or give another path"),
    errno.EMFILE: "raise the limit of open files (ulimit -n)",
    errno.ENAMETOOLONG: "give a shorter path",
}
"""What to do about a path that cannot be read or written, by what the system said."""
UsageError: Any = typer.BadParameter.__base__
"""What Typer raises of something mistyped; it has the class from Click, or brings it along, and names it nowhere."""
NO_READER = 128 + 13
"""Exit code of what a shell ends by SIGPIPE."""
RESUMABLE = ("build", "refresh", "demo")
"""Commands that go on where they were stopped."""


def open_closed() -> None:
    """What was closed by who started us (``>&-``) leads nowhere: else the next file that is opened gets its number."""
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:
            setattr(sys, name, Path(os.devnull).open(mode, encoding="utf-8"))  # noqa: SIM115 - for the process's length


def has_no_reader() -> bool:
    """Whether what we print to has been left by its reader, such as ``head``; what is not written yet goes nowhere."""
    left = []
    for stream in (sys.stdout, sys.stderr):
        poll = select.poll()
        poll.register(stream.fileno(), 0)
        left += [stream.fileno() for _, events in poll.poll(0) if events & (select.POLLERR | select.POLLHUP)]
    for descriptor in left:
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, descriptor)
        os.close(nowhere)
    return bool(left)


@contextmanager
def mistyped() -> Iterator[None]:
    """Typer's errors of what was typed, as ours.

    Raises:
        UserError: an option that there is not, an argument that is missing, a value that is none.
    """
    try:
        yield
    except UsageError as error:
        said = " ".join(error.format_message().split()).rstrip(".")
        if error.ctx is None or not said:  # no command at all: its help was shown
            raise
        raise UserError(said[:1].lower() + said[1:], mend=f"see {error.ctx.command_path} -h") from error


_TURNED = (0x061C, 0x200E, 0x200F, *range(0x2028, 0x202F), *range(0x2066, 0x206A))
"""What turns the reading order, so that a name can look like another or swallow what follows, and ends of lines."""
_HALVES = range(0xD800, 0xE000)
"""Halves of a character, which JSON may hold and no terminal takes."""
CONTROLS = dict.fromkeys([*range(32), *range(127, 160), *_TURNED, *_HALVES], "\N{REPLACEMENT CHARACTER}")
"""What steers a terminal, or is a line that nobody wrote, and what is shown in its place."""
for _kept in map(ord, "\n\t"):
    del CONTROLS[_kept]


def visible(text: str) -> str:
    r"""A text without what steers a terminal: catalogs and datasets of strangers say what they like.

    >>> visible("S2A\x1b]0;you were here\x07")
    'S2A\ufffd]0;you were here\ufffd'
    >>> visible("S2A\u202eA2S")
    'S2A\ufffdA2S'
    """
    return text.translate(CONTROLS)


class Visible(logging.Formatter):
    """Lines of a log as `visible` gives them, without secrets: libraries write whole addresses, signatures and all."""

    def format(self, record: logging.LogRecord) -> str:
        """See `logging.Formatter.format`."""
        return visible(masked(super().format(record)))


class Output(Console):
    """A console that shows texts as `visible` gives them; where its reader leaves, the command ends as others do."""

    def render(self, renderable: Any, options: Any = None) -> Iterator[Segment]:
        """See `rich.console.Console.render`; its own colours are no texts."""
        for segment in super().render(renderable, options):
            yield segment if segment.control else segment._replace(text=visible(segment.text))

    def on_broken_pipe(self) -> None:
        """Called by rich.

        Raises:
            SystemExit: with 141.
        """
        has_no_reader()
        raise SystemExit(NO_READER)


out = Output(highlight=False)
err = Output(stderr=True, highlight=False)


class Commands(TyperGroup):
    """The group of commands; Typer itself would end an interrupt without a word, and draw a box around a mistake."""

    def make_context(self, info_name: str | None, args: list[str], parent: Any = None, **extra: Any) -> Any:
        """What was typed before the command's name.

        Raises:
            UserError: it makes no sense.
        """
        with mistyped():
            return super().make_context(info_name, args, parent, **extra)

    def invoke(self, ctx: Any) -> Any:
        """Run a command.

        Raises:
            UserError: what was typed makes no sense.
            typer.Exit: with 130, after an interrupt.
            SystemExit: with 141, where nobody reads any more.
        """
        with mistyped():
            return self._run(ctx)

    def _run(self, ctx: Any) -> Any:
        try:
            done = super().invoke(ctx)
            sys.stdout.flush()
            return done
        except BrokenPipeError:
            if not has_no_reader():  # a connection
                raise
            raise SystemExit(NO_READER) from None
        except KeyboardInterrupt:
            more = "; run the same command again to go on where it stopped"
            line = f"terraweft: interrupted{more if ctx.invoked_subcommand in RESUMABLE else ''}"
            err.print(line, markup=False, soft_wrap=True)
            raise typer.Exit(130) from None


def _line(error: UserError) -> str:
    """The line of an error; of one that names a key of the recipe, with the file and the line where that stands."""
    path = recipe_file.get()
    if path is None or not KEY.fullmatch(error.where):
        return error.line()
    from schemas.recipe_file import place_of_key

    place = place_of_key(path, error.where)
    return UserError(error.what, f"{place}: {error.where}", error.mend).line() if place else error.line()


def guarded(command: Callable[[], Result]) -> Result:
    """Run a command; a user's mistake becomes one line and exit code 2.

    A source that fails, damaged bytes and the like are one line too, with exit code 1: whatever runs us asks again
    later, where nothing of a recipe is to be mended. A path that cannot be read or written is the user's to mend.
    ``TERRAWEFT_LOG=debug`` brings the traceback back.

    Raises:
        SystemExit: with 1 or 2.
    """
    recipe_file.set(None)
    try:
        return command()
    except UserError as error:
        log.debug("ended by an error", exc_info=True)
        err.print(f"terraweft: {_line(error)}", style="red", markup=False, soft_wrap=True)
        raise SystemExit(1 if error.may_pass else 2) from None
    except TerraweftError as error:
        log.debug("ended by an error", exc_info=True)
        err.print(f"terraweft: {' '.join(str(error).split())}", style="red", markup=False, soft_wrap=True)
        raise SystemExit(1) from None
    except OSError as error:
        number = error.errno or 0
        named = error.filename is not None and error.strerror is not None
        if not named and number not in DISK:
            raise
        line = f"{error.filename}: {error.strerror}" if named else os.strerror(number)
        line += f" ({MENDS[number]})" if number in MENDS else ""
        log.debug("ended by an error", exc_info=True)
        err.print(f"terraweft: {line}", style="red", markup=False, soft_wrap=True)
        raise SystemExit(2) from None
