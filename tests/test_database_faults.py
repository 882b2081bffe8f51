"""Each statement of a run fails once, as when the connection is lost or a row is locked: the result is the same."""

import re
import threading
from typing import Any

import pytest
from django.db.backends.utils import CursorWrapper
from django.db.utils import OperationalError

from people.models import Gist, Person
from tests.conftest import Sync
from tests.factories import create_person, track
from tests.standins import GitHubStandIn, PipedriveStandIn

pytestmark = pytest.mark.django_db(transaction=True)
FAULTS: list[tuple[Any, ...]] = [(2006, "Server has gone away"), ("database is locked",)]


class Statements:
    """The kinds of statements of all threads, in their order. The first one of the kind `failing` fails once."""

    def __init__(self) -> None:
        self.kinds: dict[str, int] = {}
        self.failing, self.fault = "", FAULTS[0]
        self._execute, self._lock = CursorWrapper.execute, threading.Lock()

    def execute(self, cursor: CursorWrapper, sql: str, params: Any = None) -> Any:
        # Lists of any length, and tables of any number of rows, are one kind.
        kind = re.sub(r"\((?:%s(?:, )?)+\)(?:, \((?:%s(?:, )?)+\))*", "(...)", sql)
        kind = re.sub(r"s\d+_x\d+", "savepoint", kind)
        with self._lock:
            self.kinds.setdefault(kind, len(self.kinds))
            if kind == self.failing:
                self.failing = ""
                raise OperationalError(*self.fault)
        return self._execute(cursor, sql, params)


@pytest.fixture
def statements(monkeypatch: pytest.MonkeyPatch) -> Statements:
    found = Statements()
    monkeypatch.setattr(CursorWrapper, "execute", lambda cursor, sql, params=None: found.execute(cursor, sql, params))
    return found


def make_work(github: GitHubStandIn, number: int) -> None:
    """A new person, one whose login changed, a gist that is new, one that was edited and one that was removed."""
    Person.objects.filter(github_username__startswith="person-").delete()
    track(github, f"person-{number}", gists=1)
    github.rename(*(("ben", "benjamin") if number % 2 else ("benjamin", "ben")))
    github.publish("cleo", f"Gist {number}")
    github.edit("cleo", github.gist_ids("cleo")[1], description=f"Edit {number}")
    github.remove("cleo", github.gist_ids("cleo")[0])
    Person.objects.update(full_read_at=None)


@pytest.mark.slow("runs a sync for each kind of statement")
def test_a_run_in_which_any_statement_fails_once_has_the_same_result(
    github: GitHubStandIn,
    pipedrive: PipedriveStandIn,
    sync: Sync,
    statements: Statements,
    caplog: pytest.LogCaptureFixture,
) -> None:
    github.add_account("benjamin")
    create_person("benjamin")
    track(github, "cleo", gists=2)
    sync()
    make_work(github, 0)
    sync()
    make_work(github, 1)
    statements.kinds.clear()
    expected = sync()
    different, not_sent = [], []
    for number, kind in enumerate(list(statements.kinds), start=2):
        make_work(github, number)
        caplog.clear()
        statements.failing, statements.fault = kind, FAULTS[number % 2]
        result = sync()
        not_sent += [kind] if statements.failing else []
        statements.failing = ""
        if (result.code, result.counts) != (0, expected.counts) or "Traceback" in caplog.text:
            different.append((kind, statements.fault, result))

    assert not different, "\n".join(f"{kind}: {fault}, {result}" for kind, fault, result in different)
    assert len(not_sent) < len(statements.kinds) / 4  # Some are sent in runs of a certain length only.
    assert set(Gist.objects.values_list("push_state", flat=True)) == {"pushed"}
    assert len(pipedrive.gist_ids()) == len(set(pipedrive.gist_ids()))
