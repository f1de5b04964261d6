"""What endpoints depend on: publishers over the user's own sessions, and a ready-made set over the library's."""

from fastapi_events.api.dependencies.instance import Instance, instance_of
from fastapi_events.api.dependencies.jobs import jobs_on
from fastapi_events.api.dependencies.publishers import publisher_on, sync_publisher_on
from fastapi_events.api.dependencies.ready_made import Jobs, Publisher, SessionDep, SyncPublisher, SyncSessionDep
from fastapi_events.api.dependencies.route_check import check_routes
from fastapi_events.api.dependencies.tenants import tenant_from

__all__ = [
    "Instance",
    "Jobs",
    "Publisher",
    "SessionDep",
    "SyncPublisher",
    "SyncSessionDep",
    "check_routes",
    "instance_of",
    "jobs_on",
    "publisher_on",
    "sync_publisher_on",
    "tenant_from",
]
