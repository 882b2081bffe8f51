"""Ask GitHub about one person."""

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from django.db.models import Q

from people.github_names import login_key
from people.models import Gist, Person
from sync.clients.errors import NotFoundError, RejectedError, RetryNextRunError
from sync.clients.github import REACH, Account, GistPage, GitHubClient, PublicGist
from sync.steps import Steps, remote

FULL_PASS_EVERY = timedelta(days=1)
UNPROCESSABLE = 422  # what listings answer beyond their reach


@dataclass
class Poll:
    """What GitHub said about a person. `complete`: the list was read to its end."""

    person: Person
    attempted_at: datetime  # when the poll began: who is asked for later is due again
    state: str = Person.State.ACTIVE
    reason: str = ""  # why the state is not active, or what is to be known although it is
    account: Account | None = None  # when the profile was asked for
    gists: list[PublicGist] = field(default_factory=list)
    etag: str = ""
    unchanged: bool = False
    full: bool = False
    complete: bool = False


class _VerdictError(Exception):
    """The account cannot be polled; says which state the person gets."""

    def __init__(self, state: str, reason: str) -> None:
        super().__init__(reason)
        self.state = state


def is_full_pass_due(person: Person, now: datetime) -> bool:
    return (
        person.state != Person.State.ACTIVE
        or person.full_pass_at is None
        or person.full_pass_at < now - FULL_PASS_EVERY
    )


def poll_person(
    person: Person, github: GitHubClient, *, now: datetime, full: bool, stop: Callable[[], None]
) -> Steps[Poll]:
    """Ask for what is new. `full` ignores the ETag and reads every page; `stop` raises when the run is to end.

    Raises what the client raises; RejectedError, CircuitOpenError, RetryNextRunError, RunStoppedError.
    """
    poll = Poll(person, now, full=full or person.github_id is None)
    try:
        if person.github_id is None:
            poll.account = yield from _new_account(person, github)
        page = yield from _first_page(poll, github)
        yield from _read_pages(poll, page, github, stop)
    except _VerdictError as verdict:
        return Poll(person, now, state=verdict.state, reason=str(verdict))
    return poll


def _new_account(person: Person, github: GitHubClient) -> Steps[Account]:
    try:
        account = yield from remote(github.account, person.github_username)
    except NotFoundError:
        raise _VerdictError(Person.State.GONE, f"GitHub has no account named {person.github_username}.") from None
    if account.type == "Organization":
        raise _VerdictError(Person.State.GONE, f"{account.login} is an organisation; organisations have no gists.")
    _check_free(person, Q(github_id=account.id))
    return account


def _check_free(person: Person, same: Q) -> None:
    other = Person.objects.filter(same).exclude(pk=person.pk).first()
    if other:
        raise _VerdictError(
            Person.State.CONFLICT,
            f"GitHub's account of that name is tracked already, as {other} (added {other.created_at:%Y-%m-%d}): "
            "delete one of the two.",
        )


def _first_page(poll: Poll, github: GitHubClient) -> Steps[GistPage]:
    """Page 1; a login that GitHub does not know any more is looked up by the account's id."""
    person = poll.person
    login = poll.account.login if poll.account else person.github_username
    etag = person.etag if person.etag_scope == github.etag_scope and not poll.full else ""
    try:
        return (yield from remote(github.first_page, login, etag))
    except NotFoundError:
        pass
    poll.account = yield from _account_of(person, github)
    if login_key(poll.account.login) == login_key(login):
        raise RetryNextRunError(f"GitHub knows @{login} but does not list its gists")
    _check_free(person, Q(username_key=login_key(poll.account.login)))
    poll.full = True
    try:
        return (yield from remote(github.first_page, poll.account.login))
    except NotFoundError:
        raise _VerdictError(Person.State.GONE, "GitHub does not know this account any more.") from None


def _account_of(person: Person, github: GitHubClient) -> Steps[Account]:
    if person.github_id is None:
        raise _VerdictError(Person.State.GONE, f"GitHub has no account named {person.github_username}.")
    try:
        return (yield from remote(github.account_by_id, person.github_id))
    except NotFoundError:
        raise _VerdictError(Person.State.GONE, "GitHub does not know this account any more.") from None


def _read_pages(poll: Poll, page: GistPage, github: GitHubClient, stop: Callable[[], None]) -> Steps[None]:
    """Read until the end, or until one whole page is already stored."""
    poll.unchanged, poll.etag = page.unchanged, page.etag
    seen: dict[str, PublicGist] = {}
    while not page.unchanged:
        _check_owner(poll, page)
        seen.update((gist.id, gist) for gist in page.gists)
        if not page.next_url:
            break
        if not poll.full and _all_stored(page):
            break
        stop()
        try:
            page = yield from remote(github.page, page.next_url)
        except RejectedError as error:
            if error.status != UNPROCESSABLE:
                raise
            break  # GitHub lists no further than this.
    poll.gists = list(seen.values())
    if len(seen) >= REACH:
        poll.reason = f"GitHub lists only the newest {REACH} gists of an account; older ones are not imported."
    else:
        poll.complete = not page.unchanged and not page.next_url


def _check_owner(poll: Poll, page: GistPage) -> None:
    expected = poll.person.github_id or (poll.account and poll.account.id)
    for gist in page.gists:
        if gist.owner is None or gist.owner.id != expected:
            owner = f"@{gist.owner.login} (GitHub id {gist.owner.id})" if gist.owner else "nobody"
            raise _VerdictError(
                Person.State.CONFLICT,
                f"The login belongs to {owner} now, not to GitHub id {expected}; nothing was imported.",
            )


def _all_stored(page: GistPage) -> bool:
    ids = [gist.id for gist in page.gists]
    return Gist.objects.filter(github_id__in=ids).count() == len(ids)
