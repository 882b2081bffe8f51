"""Ask GitHub for one person's gists. Plain functions, called in the threads of the poll lane.

How much is read:
- Page 1 is requested with its ETag, always by the same URL. 304 means that nothing changed on it.
- After a change, pages are read until one whole page is already stored.
- Once in seven days (a full read) the profile is requested by its id, and every page without ETags. The moments of all
  people are spread evenly over the week.

Who it is about: a login proves nothing. Each listed gist names its owner. Whenever a response could be about another
account (the list is empty, names another owner or is not found), the account is requested by its numeric id and
followed to its present login.

What is believed: a list is complete only when it was read to its documented end. From an incomplete one its gists are
stored, and nothing else is concluded.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

from django.db.models import Q

from gisttracker.common.database import retried
from people.models import Gist, Person, Suppressed
from people.models.freshness import MAX_CLOCK_ERROR
from people.models.github_names import LOGIN, login_key
from sync.clients.errors import InvalidResponseError, NotFoundError, RejectedError, RetryNextRunError
from sync.clients.github import (
    MAX_LISTED_GISTS,
    PAGE_SIZE,
    SMALL_PAGE_SIZE,
    Account,
    GistPage,
    GitHubClient,
    PublicGist,
    UnreadableGist,
)

MAX_ETAG_LENGTH = 255  # a longer one cannot be stored byte for byte, so it is not stored at all
MAX_PAGES = 30  # of 100 gists: GitHub lists no more than the newest 3,000
FULL_READ_EVERY = timedelta(days=7)
END_OF_LIST = "pagination is limited"  # GitHub's words in a 422 for a page beyond the listed gists
GONE = Person.State.GONE
UNKNOWN_ACCOUNT = "GitHub does not know this account any more."
UNKNOWN_LOGIN = "GitHub has no account with this login."
EPOCH = datetime(2026, 1, 1, tzinfo=UTC)
SPREAD = 7919  # a prime number of minutes: people added together get moments all over the week


@dataclass
class Poll:
    """The result of polling a person."""

    person: Person
    attempted_at: datetime  # when the poll began; a sync requested later is still due
    state: str = Person.State.ACTIVE
    reason: str = ""  # why the state is not active, or a remark about an active person
    account: Account | None = None  # if the profile was requested
    gists: list[PublicGist] = field(default_factory=list)
    unreadable_gists: list[UnreadableGist] = field(default_factory=list)  # listed gists that cannot be read
    etag: str = ""
    unchanged: bool = False
    reached_end: bool = False  # of the list, as GitHub shows it
    is_full_read: bool = False  # the profile and the whole list were requested
    complete: bool = False  # `gists` is the whole list: what is missing was removed
    incomplete_because: str = ""  # why the list could not be read to its end, or is not believed


class _UnpollableError(Exception):
    """The account cannot be polled; `state` is the person's new state."""

    def __init__(self, state: str, reason: str) -> None:
        super().__init__(reason)
        self.state = state


class AccountSuppressedError(Exception):
    """The account's owner asked not to be tracked: the person is to be erased. See people.forget."""


def is_full_read_due(person: Person, now: datetime) -> bool:
    """Each person has a fixed moment in the week, so that the requests are spread evenly over it."""
    if person.state != Person.State.ACTIVE or person.full_read_at is None:
        return True
    offset = timedelta(minutes=person.pk * SPREAD) % FULL_READ_EVERY
    latest = now - (now - EPOCH - offset) % FULL_READ_EVERY
    return not latest <= person.full_read_at <= now + MAX_CLOCK_ERROR  # A time in the future is wrong.


def poll_person(person: Person, github: GitHubClient, *, now: datetime, full: bool) -> Poll:
    """Read what is new. `full`: a full read, also if none is due.

    Raises what the client raises: RejectedError, CircuitOpenError, RetryNextRunError, RunStoppedError. And
    AccountSuppressedError.
    """
    poll = Poll(person, now)
    read_all = full or is_full_read_due(person, now)
    try:
        if person.github_id is None:
            _check_new_account(poll, github)
        elif read_all:
            _follow_account(poll, github)
        page = _get_first_page(poll, github, read_all)
        poll.unchanged = page.unchanged
        if not page.unchanged:
            _read_list(poll, page, github, read_all)
    except _UnpollableError as verdict:
        return Poll(person, now, state=verdict.state, reason=str(verdict))
    return poll


# --- who it is ---
def _check_new_account(poll: Poll, github: GitHubClient) -> None:
    login = poll.person.github_username
    if retried(Suppressed.objects.has_login)(login):  # It was added at the moment at which it was forgotten.
        raise AccountSuppressedError
    try:
        account = github.get_account(login)
    except NotFoundError:
        raise _UnpollableError(GONE, UNKNOWN_LOGIN) from None
    _set_account(poll, account, github)


def _follow_account(poll: Poll, github: GitHubClient) -> None:
    """The login may be about another account: look up where this account is now."""
    account_id = poll.person.github_id or (poll.account.id if poll.account else None)
    if account_id is None:
        raise _UnpollableError(GONE, UNKNOWN_LOGIN)
    try:
        _set_account(poll, github.get_account_by_id(account_id), github)
    except NotFoundError:
        raise _UnpollableError(GONE, UNKNOWN_ACCOUNT) from None


def _set_account(poll: Poll, account: Account, github: GitHubClient) -> None:
    if retried(Suppressed.objects.has_github_id)(account.id):
        _confirm_suppressed(poll.person, account, github)
        raise AccountSuppressedError
    if account.type == "Organization":
        raise _UnpollableError(GONE, "The account is an organisation; organisations have no gists.")
    _check_not_tracked(poll.person, account)
    poll.account = account


def _confirm_suppressed(person: Person, account: Account, github: GitHubClient) -> None:
    """A new person is erased only if GitHub names the same login and id when the account is requested by its id.

    RetryNextRunError if it does not.
    """
    if person.github_id is not None:
        return  # The row's own id is suppressed.
    try:
        login = github.get_account_by_id(account.id).login
    except (RejectedError, RetryNextRunError):
        login = ""
    if {login_key(login), login_key(account.login)} != {login_key(person.github_username)}:
        raise RetryNextRunError("GitHub did not confirm that the account it returned has this login")


@retried
def _check_not_tracked(person: Person, account: Account) -> None:
    """Is the account, or its login, tracked by a second row?

    A row with the same login and another id only has a login that moved on; storing this poll takes the login from it.
    """
    same = Q(github_id=account.id) | Q(username_key=login_key(account.login), github_id=None)
    other = Person.objects.filter(same).exclude(pk=person.pk).first()
    if other:
        raise _UnpollableError(
            Person.State.CONFLICT,
            f"This GitHub account is already tracked, as the person with the id {other.pk}: delete one of the two.",
        )


def _get_first_page(poll: Poll, github: GitHubClient, read_all: bool) -> GistPage:
    """Page 1 of the account's list, under the login that it has now."""
    person = poll.person
    login = poll.account.login if poll.account else person.github_username
    is_known = login_key(login) == login_key(person.github_username) and person.etag_scope == github.etag_scope
    if LOGIN.fullmatch(login):
        try:
            page = github.get_first_page(login, person.etag if is_known and not read_all else "")
            if not page.is_redirected and _names_only_this_account(poll, page):
                return page
        except NotFoundError:
            pass
    _follow_account(poll, github)
    try:
        page = github.get_first_page(poll.account.login if poll.account else login)
    except NotFoundError:
        raise RetryNextRunError("GitHub has the account but did not list its gists") from None
    if not _names_only_this_account(poll, page):
        raise RetryNextRunError("GitHub lists gists of another account under this login")
    return page


def _names_only_this_account(poll: Poll, page: GistPage) -> bool:
    """Does no gist of the page name another owner? A gist without an owner needs the account's profile as proof."""
    expected = poll.person.github_id or (poll.account and poll.account.id)
    owners = {gist.owner.id if gist.owner else None for gist in page.gists}
    return owners <= ({expected, None} if poll.account else {expected})


# --- how much is read ---
def _read_list(poll: Poll, first: GistPage, github: GitHubClient, read_all: bool) -> None:
    """Read to the end, or until one whole page is already stored, and decide what of it is believed."""
    listed: dict[str, PublicGist] = {}
    last_page = first
    reached_end = True
    try:
        for page in _iter_pages(poll, first, github):
            last_page = page
            listed.update((gist.id, gist) for gist in page.gists)
            poll.unreadable_gists += page.unreadable_gists
            ids = [gist.id for gist in page.gists]
            stored = Gist.objects.filter(github_id__in=ids)
            if page.next_url and not read_all and not page.unreadable_gists and retried(stored.count)() == len(ids):
                reached_end = False
                break
    except (RejectedError, RetryNextRunError) as error:
        poll.incomplete_because = f"The list of gists could not be read to its end: {error}"
    poll.gists = list(listed.values())
    if not poll.incomplete_because and not _is_believed(poll, github):
        poll.incomplete_because = (
            "GitHub listed no gists, but the profile counts some; the list is read again in the next run."
        )
    if poll.incomplete_because:
        return
    poll.etag = first.etag
    poll.reached_end, poll.is_full_read = reached_end, reached_end and read_all
    if len(listed) >= MAX_LISTED_GISTS:
        poll.reason = f"GitHub lists only the newest {MAX_LISTED_GISTS} gists of an account, so older ones are missing."
    else:
        poll.complete = reached_end and not last_page.next_url


def _iter_pages(poll: Poll, first: GistPage, github: GitHubClient) -> Iterator[GistPage]:
    """The pages, until the documented end of the list.

    Links that lead in circles, pages without a new gist, and more pages than GitHub can have, are no end:
    InvalidResponseError.
    """
    page = first
    visited: set[str] = set()
    seen = _ids(first)
    yield first
    while url := page.next_url:
        max_pages = MAX_PAGES * (PAGE_SIZE // SMALL_PAGE_SIZE if page.is_small else 1)
        if url in visited or len(visited) >= max_pages:
            raise InvalidResponseError("GitHub's links of the list of gists do not end")
        visited.add(url)
        try:
            page = github.get_page(url)
        except RejectedError as error:
            if END_OF_LIST in str(error):
                return  # GitHub lists no further than this.
            raise
        if not _names_only_this_account(poll, page):
            raise InvalidResponseError("GitHub lists gists of another account on a further page")
        new = _ids(page) - seen
        if not _ids(page):  # GitHub links pages that have gists only.
            raise InvalidResponseError("GitHub lists no gists on a further page")
        if page.next_url and not new:
            raise InvalidResponseError("GitHub repeats the same gists in the list")
        seen |= new
        yield page


def _is_believed(poll: Poll, github: GitHubClient) -> bool:
    """Can this be the whole list? Lists of existing data are sometimes empty for a moment: the profile must agree."""
    if poll.gists or poll.unreadable_gists:
        return True
    if poll.account is None or poll.account.public_gists is None:
        _follow_account(poll, github)
    return not (poll.account and poll.account.public_gists)


def _ids(page: GistPage) -> set[str]:
    return {gist.id for gist in page.gists} | {gist.id for gist in page.unreadable_gists}
