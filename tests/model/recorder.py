"""Records what runs do, as events in the words of the model.

Each commit that may have changed gists or the lease is compared with the rows before it. In another process a recorder
is installed with DJANGO_SETTINGS_MODULE=tests.recorded_settings; it appends its events to the file TRACE_FILE.
"""

import json
import os
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from django.conf import settings
from django.db import connection, transaction

from people.models import Gist
from sync.crm.recognition import page_of_gist_in
from sync.models import RunLease
from tests.model import events
from tests.model.events import (
    Compared,
    Deleted,
    Event,
    Landed,
    LookedUp,
    LoseLease,
    Outcome,
    PushedAgain,
    Refused,
    RenewLease,
    Sent,
    Skipped,
    Started,
    Stored,
    TakeLease,
    Undone,
)
from tests.standins import PipedriveStandIn
from tests.standins.wire import Line, RecordedRequest, Response

TABLES = (Gist._meta.db_table, RunLease._meta.db_table)
TRACE_FILE = "TRACE_FILE"
Emit = Callable[[Event], object]


@dataclass(frozen=True)
class Row:
    """A gist. `matched_at`: when its person was compared with Pipedrive's lists."""

    person: str
    state: str
    started_at: float | None = None
    activity: int | None = None
    matched_at: object = None


def read_rows() -> dict[str, Row]:
    """All gists, by their ids on GitHub. A rejected one counts as pending: the model has no refusal that lasts."""
    columns = ("person_id", "push_state", "push_started_at", "pipedrive_activity_id", "person__pipedrive_matched_at")
    rows = {}
    for gist, person, state, until, activity, matched_at in Gist.objects.order_by("pk").values_list(
        "github_id", *columns
    ):
        started_at = until.timestamp() - settings.SEND_SECONDS if until else None
        rows[gist] = Row(str(person), "pending" if state == "rejected" else state, started_at, activity, matched_at)
    return rows


class Recorder:
    """`run` is the token of the run whose writes are seen. `clock`: seconds."""

    def __init__(self, emit: Emit, clock: Callable[[], float] = time.time, pid: int | None = None) -> None:
        """`pid`: of the process whose lease counts; None: of any."""
        self.run, self._pid = "", pid
        self._emit, self._clock = emit, clock
        self._rows: dict[str, Row] = {}
        self._waiting: set[str] = set()  # gists whose POST has no outcome in this run yet
        self._holds_lease, self._renewed_at = False, 0.0

    def watch(self, execute: Callable[..., Any], sql: str, params: Any, many: bool, context: dict[str, Any]) -> Any:
        """For `connection.execute_wrapper`: see each commit of the connection."""
        result = execute(sql, params, many, context)
        is_write = sql.startswith(("INSERT", "UPDATE", "DELETE")) and any(table in sql for table in TABLES)
        if is_write and self.compare not in [hook for _, hook, *_ in connection.run_on_commit]:
            transaction.on_commit(self.compare)
        return result

    def follow(self, event: Event) -> None:
        """Another recorder has seen this."""
        if isinstance(event, TakeLease):
            self.run, self._holds_lease, self._renewed_at = event.run, True, event.at
            self._waiting.clear()
        elif isinstance(event, RenewLease):
            self._renewed_at = event.at
        elif isinstance(event, LoseLease):
            self._holds_lease = False
        elif isinstance(event, Stored):
            self._rows[event.gist] = Row(event.person, event.state, event.started_at)
        elif isinstance(event, Started):
            self._change(event.gist, "started", event.at)
            self._waiting.add(event.gist)
        elif isinstance(event, Outcome) and event.result == "unknown":
            self._change(event.gist, "started", event.at - settings.SEND_SECONDS)
        elif isinstance(event, Outcome | LookedUp | Compared):
            self._change(event.gist, "pushed" if event.activity else "pending")

    def _change(self, gist: str, state: str, started_at: float | None = None) -> None:
        old = self._rows[gist]
        self._rows[gist] = replace(old, state=state, started_at=old.started_at if started_at is None else started_at)
        self._waiting.discard(gist)

    def compare(self) -> None:
        """Emit what has changed. What was there before a run began is not new."""
        if self._compare_lease():
            self._rows = read_rows()
        elif self.run:
            self._compare_gists()

    def _compare_gists(self) -> None:
        rows, before = read_rows(), self._rows
        self._rows = rows
        gone = [row.person for gist, row in before.items() if gist not in rows or rows[gist].person != row.person]
        for person in dict.fromkeys(gone):
            self._emit(Deleted(self._clock(), person))
        for gist, row in rows.items():
            old = before.get(gist)
            if old is None or old.person != row.person:
                self._emit(Stored(self._clock(), self.run, gist, row.person, row.state, row.started_at))
            elif old.state != row.state or (row.state == "started" and old.started_at != row.started_at):
                for event in self._events(gist, old, row):
                    self._emit(event)

    def lose_lease(self) -> None:
        """The process that has the lease was killed. What it has committed at last is seen now."""
        self.compare()
        self._see(LoseLease(self._clock(), self.run))

    def _compare_lease(self) -> bool:
        """Returns whether a run has begun."""
        lease = RunLease.objects.first()
        if lease is None:
            return False
        renewed_at = lease.expires_at.timestamp() - settings.LEASE_SECONDS
        if not lease.token and self._holds_lease:
            self._see(LoseLease(self._clock(), self.run))
        elif self._holds_lease and lease.token == self.run:
            if renewed_at != self._renewed_at:
                self._see(RenewLease(renewed_at, self.run))
        elif lease.token not in ("", self.run) and self._pid in (None, lease.pid):
            self._see(TakeLease(renewed_at, lease.token))
            return True
        return False

    def _see(self, event: Event) -> None:
        self.follow(event)
        self._emit(event)

    def _events(self, gist: str, old: Row, row: Row) -> list[Event]:
        """What has happened to a gist in one transaction."""
        now, run = self._clock(), self.run
        has_outcome = gist in self._waiting and old.state == "started"
        self._waiting.discard(gist)
        if row.state == "started" and has_outcome:
            return [Outcome((row.started_at or 0.0) + settings.SEND_SECONDS, run, gist, "unknown")]
        if row.state == "started":
            self._waiting.add(gist)
            looked_up: list[Event] = [LookedUp(now, run, gist)] if old.state == "started" else []
            return [*looked_up, Started(row.started_at or 0.0, run, gist)]
        if row.state == "skipped":
            return [Undone(now, run, gist) if old.state == "pushed" else Skipped(now, gist)]
        if row.state == "pushed" and (old.state != "started" or old.matched_at != row.matched_at):
            return [Compared(now, run, gist, row.activity)]
        if has_outcome:
            return [Outcome(now, run, gist, row.state, row.activity)]
        return [LookedUp(now, run, gist, row.activity) if old.state == "started" else PushedAgain(now, gist)]


# --- with other processes ---
class TraceFile:
    """Events of several processes, one a line, in the order in which they were written."""

    def __init__(self, path: Path) -> None:
        self.path, self._read = path, 0
        self._started_by: dict[str, str] = {}
        path.touch()

    def append(self, event: Event) -> None:
        line = json.dumps({"event": type(event).__name__, **asdict(event)})
        with self.path.open("a") as file:
            file.write(f"{line}\n")

    def read(self) -> list[Event]:
        """Those that were not read yet. A stand-in does not know which run has sent a POST: the one that started it."""
        lines = self.path.read_text().splitlines()
        found = []
        for line in lines[self._read :]:
            fields = json.loads(line)
            event: Event = getattr(events, fields.pop("event"))(**fields)
            if isinstance(event, Started):
                self._started_by[event.gist] = event.run
            elif isinstance(event, Sent | Refused):
                event = replace(event, run=self._started_by.get(event.gist, ""))
            found.append(event)
        self._read = len(lines)
        return found


def record_this_process() -> None:
    recorder = Recorder(TraceFile(Path(os.environ[TRACE_FILE])).append, pid=os.getpid())
    connection.execute_wrappers.append(recorder.watch)


class RecordedPipedrive(PipedriveStandIn):
    """A stand-in that emits what happens to the POSTs of activities."""

    def __init__(self, emit: Emit, **options: Any) -> None:
        super().__init__(**options)
        self._emit = emit

    def handle(self, line: Line, request: RecordedRequest) -> None:
        if request.operation == "create_activity":
            gist = page_of_gist_in(request.json["note"])
            self._emit(Sent(time.time(), "", gist))
            line = _Answer(line, lambda: self._emit(Refused(time.time(), "", gist)))
        super().handle(line, request)

    def _create_activity(self, request: RecordedRequest) -> Response:
        response = super()._create_activity(request)
        if response.status == 201:
            gist = page_of_gist_in(request.json["note"])
            self._emit(Landed(time.time(), gist, json.loads(response.body)["data"]["id"]))
        return response


class _Answer:
    """A line that calls `refuses` before it sends a refusal."""

    def __init__(self, line: Line, refuses: Callable[[], object]) -> None:
        self._refuses = refuses
        self.reset, self.refuse, self.trickle = line.reset, line.refuse, line.trickle
        self.pause, self.perform, self._send = line.pause, line.perform, line.send

    def send(self, response: Response, *, cut: bool = False) -> None:
        if 400 <= response.status < 500 or b'"success": false' in response.body:
            self._refuses()
        self._send(response, cut=cut)
