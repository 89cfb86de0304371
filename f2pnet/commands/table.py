"""Tables of subcommands: only the one that is run is imported; every mistake is one clear line and an exit code."""

from __future__ import annotations

import functools
import importlib
import re
import sys
from collections.abc import Callable, Mapping
from difflib import get_close_matches
from typing import Any, NoReturn

import typer
from typer.core import TyperGroup

from f2pnet.address import masked
from f2pnet.commands.command import Command
from f2pnet.errors import ExitCode, F2pError, MissingExtra
from f2pnet.providers import provided
from f2pnet.text import printable, printable_lines

Explain = Callable[[ModuleNotFoundError], Exception]
_MAY_HOLD_A_LOGIN = re.compile(r"\S*(?:://|:/|@)\S*")
_UsageError: Any = typer.BadParameter.__base__  # of click, or of the copy of it that newer versions of typer carry
_ClickException: Any = _UsageError.__base__


@functools.cache
def command_table(group: str) -> Mapping[str, Command]:
    """All subcommands that entry points of the group provide. Raises MissingResource where f2pnet is not installed."""
    found: dict[str, Command] = {}
    for entry in provided(group):
        try:
            found |= entry.load()
        except (ImportError, AttributeError) as error:  # another package of that name stands before ours
            typer.echo(f"f2p: commands of '{entry.module}' are missing: {printable(str(error))}", err=True)
    return found


class CommandGroup(TyperGroup):
    """Lists the subcommands that packages provide, and imports the one that is run."""

    provided_by = "f2pnet.commands"
    """The group of entry points; each leads to a table, name to `Command`."""

    @property
    def entries(self) -> Mapping[str, Command]:
        return command_table(self.provided_by)

    def list_commands(self, ctx: Any) -> list[str]:
        return list(self.entries)

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        """A stand-in with the command's help: the overview needs no imports."""
        entry = self.entries.get(cmd_name)
        return None if entry is None else typer.main.get_command(_stand_in(cmd_name, entry))

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        """The command itself; a stand-in where the shell only asks for completions of one that can't be imported."""
        if args[0] not in self.entries and not args[0].startswith("-") and not ctx.resilient_parsing:
            ctx.fail(f"No such command '{printable(args[0])}'{_nearest(args[0], self.entries)}")
        name, stand_in, rest = super().resolve_command(ctx, args)
        if name is None:
            return name, stand_in, rest
        try:
            return name, open_command(name, self.entries[name]), rest
        except F2pError as error:
            if ctx.resilient_parsing:
                return name, stand_in, rest
            _fail(error)

    def main(self, *args: Any, **options: Any) -> Any:
        """Run the command line; a mistake ends with one line and an exit code of `ExitCode`."""
        ends_process, run = options.pop("standalone_mode", True), functools.partial(super().main, *args)
        if not ends_process:
            return run(standalone_mode=False, **options)
        try:
            code = run(standalone_mode=False, **options)
        except _ClickException as error:
            code = _show_usage_error(error)
        except (KeyboardInterrupt, typer.Abort):
            code = ExitCode.INTERRUPTED
        except BrokenPipeError:  # the reader of our output has had enough
            sys.stdout = None  # nothing is left to be flushed at exit
            code = ExitCode.CHECK_FAILED
        sys.exit(code if isinstance(code, int) else ExitCode.OK)


def _nearest(word: str, known: Mapping[str, object]) -> str:
    """A hint at what may have been meant."""
    nearest = get_close_matches(word.replace("_", "-").lower(), known, n=1, cutoff=0.5)
    return f"; did you mean '{nearest[0]}'?" if nearest else f"; there are: {', '.join(known)}"


def _show_usage_error(error: Any) -> int:
    """A mistake on the command line, in one line; words that may hold a login are not repeated."""
    context: Any = getattr(error, "ctx", None)
    if type(error).__name__ == "NoArgsIsHelpError":
        typer.echo(context.get_help(), err=True)
    else:
        where = "f2p" if context is None else context.command_path
        described = _MAY_HOLD_A_LOGIN.sub("***", printable(_usage_problem(error)))
        typer.echo(f"{where}: {described.rstrip('.')} (see {where} --help)", err=True)
    return int(error.exit_code)


def _usage_problem(error: Any) -> str:
    option = getattr(error, "option_name", None)
    if type(error).__name__ != "NoSuchOption" or option is None:
        return str(error.format_message())
    nearest = get_close_matches(option.replace("_", "-"), error.possibilities or (), n=1)
    return f"no option '{option}'" + (f"; did you mean '{nearest[0]}'?" if nearest else "")


def own_packages() -> set[str]:
    """Top-level packages whose commands are in the tables, and those that they stand on."""
    return {"f2pnet", "models", *(entry.module.partition(".")[0] for entry in provided("f2pnet.commands"))}


def _stand_in(name: str, entry: Command) -> typer.Typer:
    app = typer.Typer(add_completion=False)
    app.command(name, help=entry.help)(lambda: None)
    return app


def open_command(name: str, entry: Command) -> Any:
    """The command itself, imported. Raises MissingExtra where a package lacks."""
    module_name, _, attribute = entry.target.partition(":")
    try:
        target = getattr(importlib.import_module(module_name), attribute)
    except ModuleNotFoundError as error:
        raise _missing_extra(name, entry.extra, error) from error
    if not isinstance(target, typer.Typer):
        function, target = target, typer.Typer(add_completion=False)
        target.command(name)(function)
    command = typer.main.get_command(target)
    _guard(command, functools.partial(_missing_extra, name, entry.extra))
    return command


def _missing_extra(name: str, extra: str | None, error: ModuleNotFoundError) -> MissingExtra | ModuleNotFoundError:
    """What says how to install the packages of a command; the error itself where it is none of theirs."""
    if extra is None or (error.name or "").split(".")[0] in own_packages():
        return error
    return MissingExtra(f"'f2p {name}' and its packages ({error.name})", extra)


def _guard(command: Any, of_missing_module: Explain) -> None:
    """Have every callback end with one line and an exit code instead of a traceback."""
    if command.callback is not None:
        command.callback = _guarded(command.callback, of_missing_module)
    for inner in getattr(command, "commands", {}).values():
        _guard(inner, of_missing_module)


def _guarded(callback: Callable[..., Any], of_missing_module: Explain) -> Callable[..., Any]:
    @functools.wraps(callback)
    def guarded(*args: Any, **kwargs: Any) -> Any:
        try:
            return callback(*args, **kwargs)
        except ModuleNotFoundError as error:  # commands import what takes seconds when they run
            explained = of_missing_module(error)
            if not isinstance(explained, F2pError):
                raise
            _fail(explained)
        except F2pError as error:
            _fail(error)
        except KeyboardInterrupt:
            raise typer.Exit(ExitCode.INTERRUPTED) from None
        except BrokenPipeError:
            raise
        except OSError as error:  # of a file or device that no check of ours had foreseen
            place = f"{masked(printable(error.filename))}: " if error.filename is not None else ""
            typer.echo(f"f2p: {place}{error.strerror or error}; check that it exists and may be used", err=True)
            raise typer.Exit(ExitCode.MISSING) from error

    return guarded


def _fail(error: F2pError) -> NoReturn:
    typer.echo(f"f2p: {masked(printable_lines(error))}", err=True)
    raise typer.Exit(error.exit_code)
