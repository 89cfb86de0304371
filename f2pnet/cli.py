"""`f2p`: the one command. Its table names where each subcommand lives; only the chosen one is imported."""

from __future__ import annotations

import functools
import importlib
import io
import re
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from importlib.metadata import version
from typing import Annotated, Any, NoReturn

import typer
from typer.core import TyperGroup

from f2pnet.address import masked
from f2pnet.errors import ExitCode, F2pError, MissingExtra
from f2pnet.isolation import leave_current_folder
from f2pnet.text import printable, printable_lines


@dataclass(frozen=True)
class _Entry:
    """A subcommand: "module:function" (or a Typer app), one line of help, and the extra it may need."""

    target: str
    help: str
    extra: str | None = None


COMMANDS = {
    "demo": _Entry("pipeline.commands.demo:demo", "Run a simulated line, and score it against its known defects."),
    "run": _Entry("pipeline.commands.run:run", "Run all workers of a line on this host."),
    "worker": _Entry("pipeline.commands.worker:worker", "Run one worker in the foreground."),
    "reload": _Entry("pipeline.commands.reload:reload", "Apply changed cameras and recipe to a running line."),
    "check": _Entry("pipeline.commands.check:check", "Validate a line configuration, and probe what it names."),
    "status": _Entry("pipeline.commands.status:status", "Show workers, ledger, rates and latencies of a running line."),
    "alerts": _Entry("pipeline.commands.records.alerts:alerts", "Read alerts; prove that none is missing or doubled."),
    "why": _Entry("pipeline.commands.records.why:why", "Show every fact behind one verdict."),
    "reviews": _Entry("pipeline.commands.records.reviews:reviews", "Write what reviewers said as a data set."),
    "keys": _Entry("pipeline.commands.keys:keys", "Make a key pair for a host of a line that spans hosts."),
    "inspect": _Entry("f2pnet.commands.inspect:inspect", "Inspect images, folders or videos without a line.", "cpu"),
    "inference": _Entry(
        "f2pnet.commands.inspect:inspect", "The same as inspect, by the name it has in F2P-Net.", "cpu"
    ),
    "engine": _Entry(
        "f2pnet.commands.engine:engine", "Tell what an engine bundle is, and whether it runs here.", "cpu"
    ),
    "conveyor": _Entry("pipeline.commands.conveyor:conveyor", "Write a labelled data set of simulated parts."),
    "bench": _Entry("f2pnet.cli:bench", "Measure rates and latencies, with the machine's facts."),
    "data": _Entry("training.commands.data:data", "Look at a data set before training on it.", "train"),
    "pretrained": _Entry(
        "training.commands.pretrained:pretrained",
        "List, fetch, convert and check weights that training starts from.",
        "train",
    ),
    "train": _Entry("training.commands.train:train", "Train F2P-Net on a data set.", "train"),
    "test": _Entry("training.commands.score:test", "Score a checkpoint, an engine or a trivial baseline.", "train"),
    "export": _Entry("export.commands.export:export", "Make an engine bundle from a checkpoint.", "train"),
}

OWN_PACKAGES = ("f2pnet", "models", "training", "export", "pipeline")


BENCH_COMMANDS = {
    "engine": _Entry(
        "export.commands.bench:bench_engine", "Rates and latencies of an engine's files on this machine.", "train"
    ),
    "pipeline": _Entry("pipeline.commands.bench:bench_pipeline", "Frames per second of a line beside the memcpy rate."),
}


_MAY_HOLD_A_LOGIN = re.compile(r"\S*(?:://|:/|@)\S*")
_UsageError: Any = typer.BadParameter.__base__  # of click, or of the copy of it that newer versions of typer carry
_ClickException: Any = _UsageError.__base__


class _Table(TyperGroup):
    """Lists the subcommands of a table, and imports the one that is run."""

    entries: Mapping[str, _Entry] = COMMANDS

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
            return name, _command(name, self.entries[name]), rest
        except F2pError as error:
            if ctx.resilient_parsing:
                return name, stand_in, rest
            _fail(error)

    def main(self, *args: Any, **options: Any) -> Any:
        """Run the command line; end with one clear line and the contract's exit code."""
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
        told = _MAY_HOLD_A_LOGIN.sub("***", printable(_usage_problem(error)))
        typer.echo(f"{where}: {told.rstrip('.')} (see {where} --help)", err=True)
    return int(error.exit_code)


def _usage_problem(error: Any) -> str:
    option = getattr(error, "option_name", None)
    if type(error).__name__ != "NoSuchOption" or option is None:
        return str(error.format_message())
    nearest = get_close_matches(option.replace("_", "-"), error.possibilities or (), n=1)
    return f"no option '{option}'" + (f"; did you mean '{nearest[0]}'?" if nearest else "")


class _BenchTable(_Table):
    entries = BENCH_COMMANDS


def _stand_in(name: str, entry: _Entry) -> typer.Typer:
    app = typer.Typer(add_completion=False)
    app.command(name, help=entry.help)(lambda: None)
    return app


def _command(name: str, entry: _Entry) -> Any:
    module_name, _, attribute = entry.target.partition(":")
    try:
        target = getattr(importlib.import_module(module_name), attribute)
    except ModuleNotFoundError as error:
        if entry.extra is None or (error.name or "").split(".")[0] in OWN_PACKAGES:
            raise
        raise MissingExtra(f"'f2p {name}' and its packages ({error.name})", entry.extra) from error
    if not isinstance(target, typer.Typer):
        function, target = target, typer.Typer(add_completion=False)
        target.command(name)(function)
    command = typer.main.get_command(target)
    _guard(command)
    return command


def _guard(command: Any) -> None:
    """Have every callback end with a clear line and the contract's exit code instead of a traceback."""
    if command.callback is not None:
        command.callback = _guarded(command.callback)
    for inner in getattr(command, "commands", {}).values():
        _guard(inner)


def _guarded(callback: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(callback)
    def guarded(*args: Any, **kwargs: Any) -> Any:
        try:
            return callback(*args, **kwargs)
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


HELP_OPTIONS = {"help_option_names": ["-h", "--help"]}

bench = typer.Typer(cls=_BenchTable, add_completion=False, no_args_is_help=True)


@bench.callback()
def _bench() -> None:
    """Measure rates and latencies, with the machine's facts."""


# Pretty tracebacks would show the values of variables, and passwords among them.
app = typer.Typer(cls=_Table, no_args_is_help=True, context_settings=HELP_OPTIONS, pretty_exceptions_enable=False)


def _show_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"f2p {version('f2pnet')}")
        raise typer.Exit


@app.callback()
def _root(
    show_version: Annotated[
        bool, typer.Option("--version", help="Show the version and exit.", is_eager=True, callback=_show_version)
    ] = False,
) -> None:
    """Production-line streaming inspection: from camera to alert."""


def main() -> None:
    """Entry point of the `f2p` script."""
    leave_current_folder()
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # a file name may hold what the terminal's encoding has not
            stream.reconfigure(errors="backslashreplace")
    app(prog_name="f2p")


if __name__ == "__main__":
    main()
