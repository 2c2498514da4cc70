"""The command `rushes`. People read tables and stderr; programs take --json, one object a line on stdout.

Exit code 0: done. 1: done, but with quarantined files (`ingest --strict`), or `verify` found damage. 2: wrong use or a
broken archive, with one sentence that says what to do. 130: stopped by Ctrl-C.

Only the parser lives here: a command's libraries load when it runs, so that --help is instant.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from importlib import import_module
from pathlib import Path

from flows.plain import is_plain

MODALITIES = ("visual", "audio", "speech", "text", "scene")
MEDIA = ("video", "audio", "image")
MODES = ("auto", "keyframes", "snap", "exact", "shots")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; return its exit code."""
    options = _parser().parse_args(arguments)
    module, _, function = options.run.partition(":")
    try:
        return int(getattr(import_module(module), function)(options) or 0)
    except KeyboardInterrupt:
        print("Stopped; running the command again continues.", file=sys.stderr)
        return 130
    except BrokenPipeError:  # `rushes search … | head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except Exception as error:
        if not is_plain(error):
            raise
        print(f"rushes: {error}", file=sys.stderr)
        return 2


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="rushes", description="Makes a media archive searchable by morning.")
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)

    demo = commands.add_parser("demo", help="make a small archive of free media, index it, and ask it questions")
    demo.add_argument("folder", nargs="?", type=Path, default=Path("rushes-demo"), help="where (default: rushes-demo)")
    demo.add_argument("--engine", choices=("local", "ray"), default="local")
    demo.set_defaults(run="flows.demo:demo")

    init = _command(commands, "init", "make an archive", "flows.commands:init")
    init.add_argument("--source", action="append", required=True, metavar="FOLDER_OR_URI", help="media; repeatable")
    init.add_argument("--profile", default="embedded", help="which encoders (default: embedded)")

    ingest = _command(
        commands, "ingest", "process what is new or changed, then index and publish", "flows.commands:ingest"
    )
    ingest.add_argument("--engine", choices=("local", "ray"), default="local", help="where it runs (default: local)")
    ingest.add_argument(
        "--limit", type=_at_least_one, metavar="N", help="at most N files; the rest waits for the next run"
    )
    ingest.add_argument(
        "--first", action="append", default=[], metavar="PATTERN", help="begin with such paths; may be given again"
    )
    ingest.add_argument("--stop-at", metavar="HH:MM", help="stop cleanly then; the rest waits for the next run")
    ingest.add_argument("--max-gpu-hours", type=float, default=0.0, metavar="H", help="stop cleanly after so many")
    ingest.add_argument("--strict", action="store_true", help="exit 1 when files were quarantined")
    _json(ingest)

    search = _command(commands, "search", "find moments by words, by picture or by sound", "flows.commands:search")
    search.add_argument("words", nargs="?", help="what to look for")
    search.add_argument("--image", type=Path, metavar="FILE", help="find what looks like this picture")
    search.add_argument("--audio", type=Path, metavar="FILE", help="find what sounds like this")
    search.add_argument("--asset", metavar="URI", help="only in this file of the archive")
    search.add_argument(
        "--between",
        nargs=2,
        type=float,
        metavar=("START", "STOP"),
        help="only at this time of a film or sound, in seconds",
    )
    _narrowed(search)

    recommend = _command(
        commands, "recommend", "find moments that are like one of the archive's", "flows.commands:recommend"
    )
    recommend.add_argument(
        "--like", required=True, metavar="URI[@SECONDS]", help="a file of the archive, or a moment of it"
    )
    _narrowed(recommend)

    _json(_command(commands, "status", "what is in an archive", "flows.status:status"))
    _json(_command(commands, "quarantine", "all that was not indexed, and why", "flows.commands:quarantine"))
    _json(_command(commands, "verify", "check tables, index and pictures against each other", "flows.commands:verify"))
    index = _command(commands, "index", "the index generation in force", "flows.commands:index")
    again = index.add_mutually_exclusive_group()
    again.add_argument("--rebuild", action="store_true", help="make it again from the tables alone")
    again.add_argument("--rollback", action="store_true", help="put the generation before it back in force")
    _json(index)

    _upkeep(commands)
    _serving(commands)

    probe = commands.add_parser("probe", help="what a file is, and what decoding it would cost")
    probe.add_argument("file", type=Path, metavar="FILE")
    probe.add_argument("--plan", action="store_true", help="which frames would be kept, and what is decoded for them")
    probe.add_argument("--mode", choices=MODES, default="auto", help="how frames are sampled (default: auto)")
    probe.set_defaults(run="flows.probe:probe")
    _json(probe)

    _models(commands)
    return parser


def _upkeep(commands: argparse._SubParsersAction) -> None:  # type: ignore[type-arg]
    forget = _command(commands, "forget", "remove files from an archive, for good", "flows.forget:forget")
    forget.add_argument(
        "what", nargs="+", metavar="URI_OR_ID", help="a file as hits show it, its path, or its asset_id"
    )
    _json(forget)
    maintain = _command(
        commands, "maintain", "compact the tables, remove what is out of force", "flows.maintain:maintain"
    )
    maintain.add_argument("--dry-run", action="store_true", help="say what would be removed")
    _json(maintain)
    evaluate = _command(commands, "evaluate", "ask questions whose answers are known", "flows.evaluate:evaluate")
    evaluate.add_argument("--truths", type=Path, metavar="FILE", help="default: `truths` of rushes.toml")
    evaluate.add_argument("--against", metavar="GENERATION", help="compare with another generation of the index")
    _json(evaluate)
    saved = commands.add_parser("watch-query", help="questions that new footage is asked").add_subparsers(required=True)
    add = _command(saved, "add", "save a question", "flows.saved_queries:add")
    add.add_argument("words", help="what to look for")
    add.add_argument("--modality", choices=MODALITIES, help="only moments that were perceived so")
    add.add_argument("--media", choices=MEDIA, help="only in such files")
    _json(_command(saved, "list", "the saved questions", "flows.saved_queries:listed"))
    _command(saved, "remove", "drop a saved question", "flows.saved_queries:remove").add_argument("words")


def _models(commands: argparse._SubParsersAction) -> None:  # type: ignore[type-arg]
    models = commands.add_parser("models", help="the weights that profiles use").add_subparsers(required=True)
    listed = models.add_parser("list", help="each model with its licence, source, revision, and whether it is here")
    listed.add_argument("archive", nargs="?", type=Path, metavar="ARCHIVE", help="of its profile (default: of all)")
    listed.set_defaults(run="flows.models:listed")
    _json(listed)
    pull = models.add_parser("pull", help="fetch what is not here")
    pull.add_argument(
        "what", nargs="?", default="embedded", metavar="PROFILE_OR_NAME",
        help="a profile, an archive, or a model as ORG/NAME[@COMMIT] (default: embedded)",
    )  # fmt: skip
    pull.add_argument("--to", type=Path, metavar="DIR", help="default: $RUSHES_MODELS, else in the cache")
    pull.set_defaults(run="flows.models:pull")


def _serving(commands: argparse._SubParsersAction) -> None:  # type: ignore[type-arg]
    up = commands.add_parser("up", help="run archives by schedule and on arrival, watched in the Prefect UI")
    up.add_argument("archives", nargs="*", type=Path, metavar="ARCHIVE", help="default: those that it had before")
    up.add_argument("--port", type=_at_least_one, default=4200, help="of the UI (default: 4200, or the next free one)")
    up.add_argument("--foreground", action="store_true", help="stay, as a service manager wants it")
    up.set_defaults(run="flows.up:up")
    _json(up)
    commands.add_parser("down", help="stop all that `rushes up` has started").set_defaults(run="flows.up:down")
    watch = commands.add_parser("watch", help="tell Prefect what arrives in the sources (`rushes up` runs it)")
    watch.add_argument("archives", nargs="+", type=Path, metavar="ARCHIVE")
    watch.set_defaults(run="flows.watch:watch")
    doctor = commands.add_parser("doctor", help="what is wrong with this machine or an archive, and the cure")
    doctor.add_argument("archives", nargs="*", type=Path, metavar="ARCHIVE")
    doctor.set_defaults(run="flows.doctor:doctor")
    _json(doctor)


def _command(commands: argparse._SubParsersAction, name: str, told: str, run: str) -> argparse.ArgumentParser:  # type: ignore[type-arg]
    command: argparse.ArgumentParser = commands.add_parser(name, help=told, description=told.capitalize() + ".")
    command.add_argument("archive", type=Path, metavar="ARCHIVE")
    command.set_defaults(run=run)
    return command


def _narrowed(command: argparse.ArgumentParser) -> None:
    command.add_argument("--modality", choices=MODALITIES, help="only moments that were perceived so")
    command.add_argument("--media", choices=MEDIA, help="only in such files")
    command.add_argument("-k", type=_at_least_one, default=10, metavar="N", help="how many (default: 10)")
    _json(command)


def _json(command: argparse.ArgumentParser) -> None:
    command.add_argument("--json", action="store_true", help="one JSON object a line")


def _at_least_one(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} needs to be a whole number, 1 or more")
    return int(text)


if __name__ == "__main__":
    sys.exit(main())
