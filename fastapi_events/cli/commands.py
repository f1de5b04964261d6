"""The commands and their options; what they do is in the modules beside this one."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from fastapi_events.cli.dead_letter_commands import dead_letters
from fastapi_events.cli.doctor_command import doctor
from fastapi_events.cli.event_commands import events
from fastapi_events.cli.group_commands import groups
from fastapi_events.cli.handler_commands import handlers, lanes
from fastapi_events.cli.job_commands import jobs
from fastapi_events.cli.options import AppOption, UrlOption, YesOption
from fastapi_events.cli.pool_commands import pools
from fastapi_events.cli.replay_commands import replay
from fastapi_events.cli.schedule_commands import schedules
from fastapi_events.cli.telling import errors_told, told

app = typer.Typer(
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
)
db = typer.Typer(help="The database schema.", no_args_is_help=True)
app.add_typer(events, name="events")
app.add_typer(handlers, name="handlers")
app.add_typer(lanes, name="lanes")
app.add_typer(dead_letters, name="dlq")
app.add_typer(replay, name="replay")
app.add_typer(schedules, name="schedules")
app.add_typer(jobs, name="jobs")
app.add_typer(pools, name="pools")
app.add_typer(groups, name="groups")
app.command()(doctor)
app.add_typer(db, name="db")


def _say_version(wanted: bool) -> None:
    if not wanted:
        return
    from importlib import metadata

    try:
        release = metadata.version("fastapi-events-pg")
    except metadata.PackageNotFoundError:
        release = "(not installed)"
    typer.echo(f"fastapi-events {release}")
    raise typer.Exit


@app.callback()
def options(
    _version: Annotated[
        bool, typer.Option("--version", callback=_say_version, is_eager=True, help="Say the version and end.")
    ] = False,
) -> None:
    """Durable events on PostgreSQL: run workers, keep the schema, look after deliveries."""


@app.command()
def worker(app: AppOption = None) -> None:
    """Handle events until SIGTERM or SIGINT; a second signal stops at once."""
    from fastapi_events.cli.loading import load_events
    from fastapi_events.cli.worker import INTERRUPTED, end_at_once, run_worker

    with errors_told():
        events = load_events(app)
    status = run_worker(events)
    if status == INTERRUPTED:
        end_at_once(status)
    raise typer.Exit(status)


@app.command()
def dev(
    target: Annotated[str, typer.Argument(help="module:attribute of the FastAPI app, as uvicorn takes it.")],
    host: str = "127.0.0.1",
    port: int = 8000,
) -> None:
    """Serve the app with reload, an embedded PostgreSQL where no database is given, and an open dashboard."""
    import os

    import uvicorn

    from fastapi_events.cli.loading import check_application

    os.environ["EVENTS_DEV"] = "1"
    with errors_told():
        check_application(target)
    typer.echo(f"Dashboard: http://{host}:{port}/events/dashboard")
    uvicorn.run(target, host=host, port=port, reload=True, app_dir=str(Path.cwd()))


@db.command()
def upgrade(app: AppOption = None, database_url: UrlOption = None, target: int | None = None) -> None:
    """Bring the schema to the newest version (or --target). Safe to run from many replicas at once."""
    from fastapi_events.cli import schema_commands

    told(schema_commands.upgrade(app, database_url, target))


@db.command()
def downgrade(
    target: Annotated[int, typer.Argument(help="The version to go back to; 0 removes everything.")],
    app: AppOption = None,
    database_url: UrlOption = None,
    yes: YesOption = False,
) -> None:
    """Take the schema back to an older version. Version 0 deletes every event."""
    from fastapi_events.cli import schema_commands
    from fastapi_events.store.schema import checked_version

    with errors_told():
        checked_version(target)
    if not yes and not typer.confirm(f"Go back to schema version {target}? Data of newer versions is deleted."):
        raise typer.Exit(1)
    told(schema_commands.downgrade(app, database_url, target))


@db.command()
def check(app: AppOption = None, database_url: UrlOption = None) -> None:
    """Say which version the database has; status 1 if this release needs a newer one."""
    from fastapi_events.cli import schema_commands

    told(schema_commands.check(app, database_url))


@db.command()
def sql(
    schema: Annotated[
        str | None, typer.Option(help="The PostgreSQL schema; else EVENTS_SCHEMA, else 'events'.")
    ] = None,
    partitions: Annotated[
        int | None, typer.Option(help="Partitions of each lane, fixed from then on; else EVENTS_PARTITIONS, else 32.")
    ] = None,
    role: Annotated[str | None, typer.Option(help="Also grant what an application's role needs to this role.")] = None,
) -> None:
    """Print the DDL, for those who run it by other means."""
    from fastapi_events.settings import EventsSettings
    from fastapi_events.store.schema import ddl

    given = {"schema": schema, "partitions": partitions}
    with errors_told():
        settings = EventsSettings(**{name: value for name, value in given.items() if value is not None})
        script = ddl(settings.db_schema, partitions=settings.partitions, role=role)
    sys.stdout.write(script)


@db.command()
def grant(role: str, app: AppOption = None, database_url: UrlOption = None) -> None:
    """Give a role that does not own the schema what an application needs: reading and writing rows, no DDL."""
    from fastapi_events.cli import schema_commands

    told(schema_commands.grant(app, database_url, role))


@db.command()
def rebase(
    app: AppOption = None,
    database_url: UrlOption = None,
    yes: YesOption = False,
) -> None:
    """Take a log that was restored into another cluster into use there. Stop every worker first."""
    from fastapi_events.cli import schema_commands

    if not yes and not typer.confirm("Rewrite the log's transaction ids? No worker may run meanwhile."):
        raise typer.Exit(1)
    told(schema_commands.rebase(app, database_url))


@db.command()
def maintain(app: AppOption = None, database_url: UrlOption = None) -> None:
    """Extend the event log and prune it to the end; needed only where the application's role is not the owner."""
    from fastapi_events.cli import schema_commands

    told(schema_commands.maintain(app, database_url))
