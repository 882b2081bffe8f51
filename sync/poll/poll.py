"""Ask GitHub for one person's gists. A step: it gets values, runs in a thread, and returns a Poll.

How much is read:
- Page 1 is requested with its ETag, always by the same URL. 304 means that nothing changed on it.
- After a change, pages are read until one whole page is already stored. Only the main thread knows that, so each
  further page is a step of its own.
- Once in seven days (a full read) the profile is requested by its id, and every page without ETags. The moments of all
  people are spread evenly over the week.

Who it is about: a login proves nothing. Each listed gist names its owner. Whenever a response could be about another
account (the list is empty, names another owner or is not found), the account is requested by its numeric id and
followed to its present login, whose list is read.

What is believed: a list is complete only when it was read to its documented end. From an incomplete one its gists are
stored, and nothing else is concluded. That an account does not exist is concluded only after GitHub has shown, in the
same run, one that does.
"""

from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta

from people.models import Person
from people.models.freshness import MAX_CLOCK_ERROR
from people.models.github_names import LOGIN, login_key
from people.models.suppressed import SuppressedAccounts
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
UNKNOWN_ACCOUNT = "GitHub does not know this account any more."
UNKNOWN_LOGIN = "GitHub has no account with this login."
ORGANISATION = "The account is an organisation; organisations have no gists."
EMPTY_LIST = "GitHub listed no gists, but the profile counts some; the list is read again in the next run."
TOO_MANY = f"GitHub lists only the newest {MAX_LISTED_GISTS} gists of an account, so older ones are missing."
EPOCH = datetime(2026, 1, 1, tzinfo=UTC)
SPREAD = 7919  # a prime number of minutes: people added together get moments all over the week


@dataclass(frozen=True)
class Target:
    """What a poll needs to know of a person. `read_all`: it is a full read."""

    login: str
    github_id: int | None
    etag: str = ""
    read_all: bool = True
    suppressed: SuppressedAccounts = field(default_factory=SuppressedAccounts)


@dataclass
class Poll:
    """What GitHub has shown of a person."""

    gone_because: str = ""  # why there is no account that can be polled
    account: Account | None = None  # if the profile was requested
    is_suppressed: bool = False  # The account's owner asked not to be tracked: the person is erased.
    gists: list[PublicGist] = field(default_factory=list)
    unreadable_gists: list[UnreadableGist] = field(default_factory=list)  # listed gists that cannot be read
    etag: str = ""
    unchanged: bool = False
    reached_end: bool = False  # of the list, as GitHub shows it
    is_full_read: bool = False  # the profile and the whole list were requested
    complete: bool = False  # `gists` is the whole list: what is missing was removed
    incomplete_because: str = ""  # why the list could not be read to its end, or is not believed
    remark: str = ""
    last_page: GistPage | None = None  # if the list goes on after it, and is read further only if that page has news
    visited: frozenset[str] = frozenset()  # the URLs of the pages


class _GoneError(Exception):
    """There is no account that can be polled."""


class _SuppressedError(Exception):
    """The account's owner asked not to be tracked."""


def is_full_read_due(person: Person, now: datetime) -> bool:
    """Each person has a fixed moment in the week, so that the requests are spread evenly over it."""
    if person.state != Person.State.ACTIVE or person.full_read_at is None:
        return True
    offset = timedelta(minutes=person.pk * SPREAD) % FULL_READ_EVERY
    latest = now - (now - EPOCH - offset) % FULL_READ_EVERY
    return not latest <= person.full_read_at <= now + MAX_CLOCK_ERROR  # A time in the future is wrong.


def poll_person(target: Target, github: GitHubClient) -> Poll:
    """Read what is new. The list may go on: see `read_on`.

    Raises what the client raises: RejectedError, CircuitOpenError, RetryNextRunError, RunStoppedError.
    """
    poll = Poll()
    try:
        if target.github_id is None:
            _find_account(target, poll, github)
        elif target.read_all:
            _follow_account(target, poll, github)
        page = _get_first_page(target, poll, github)
    except _GoneError as reason:
        github.check_service()
        return Poll(gone_because=str(reason))
    except _SuppressedError:
        return Poll(is_suppressed=True)
    poll.unchanged = page.unchanged
    if not page.unchanged:
        poll.etag = page.etag
        _read_list(target, poll, page, github)
    return poll


def read_on(target: Target, poll: Poll, github: GitHubClient) -> Poll:
    """The next page of a list whose last page had something new. Raises as `poll_person`."""
    page = poll.last_page
    if page is None:
        raise ValueError("the list has ended")
    poll = replace(poll, gists=list(poll.gists), unreadable_gists=list(poll.unreadable_gists))
    _read_pages(target, poll, page, github)
    return poll


# --- who it is ---
def _find_account(target: Target, poll: Poll, github: GitHubClient) -> None:
    """The account of a login that was never polled."""
    try:
        account = github.get_account(target.login)
    except NotFoundError:
        raise _GoneError(UNKNOWN_LOGIN) from None
    _set_account(target, poll, account, github)


def _follow_account(target: Target, poll: Poll, github: GitHubClient) -> None:
    """The login may be about another account: look up where this account is now."""
    account_id = target.github_id or (poll.account.id if poll.account else None)
    if account_id is None:
        raise _GoneError(UNKNOWN_LOGIN)
    try:
        _set_account(target, poll, github.get_account_by_id(account_id), github)
    except NotFoundError:
        raise _GoneError(UNKNOWN_ACCOUNT) from None


def _set_account(target: Target, poll: Poll, account: Account, github: GitHubClient) -> None:
    if target.suppressed.has_github_id(account.id):
        if target.github_id is None:  # Otherwise it is the row's own id.
            _confirm(target, account, github)
        raise _SuppressedError
    if account.type == "Organization":
        raise _GoneError(ORGANISATION)
    poll.account = account


def _confirm(target: Target, account: Account, github: GitHubClient) -> None:
    """No person is erased unless GitHub names the same login and id when the account is requested by its id."""
    try:
        login = github.get_account_by_id(account.id).login
    except (RejectedError, RetryNextRunError):
        login = ""
    if {login_key(login), login_key(account.login)} != {login_key(target.login)}:
        raise RetryNextRunError("GitHub did not confirm that the account it returned has this login")


def _get_first_page(target: Target, poll: Poll, github: GitHubClient) -> GistPage:
    """Page 1 of the account's list, under the login that it has now."""
    login = poll.account.login if poll.account else target.login
    is_known = login_key(login) == login_key(target.login) and not target.read_all
    if LOGIN.fullmatch(login):
        try:
            page = github.get_first_page(login, target.etag if is_known else "")
            if not page.is_redirected and _names_only_this_account(target, poll, page):
                return page
        except NotFoundError:
            pass
    return _get_first_page_of_account(target, poll, github)


def _get_first_page_of_account(target: Target, poll: Poll, github: GitHubClient) -> GistPage:
    """Page 1 of the list under the login that the profile names now."""
    _follow_account(target, poll, github)
    try:
        page = github.get_first_page(poll.account.login if poll.account else target.login)
    except NotFoundError:
        raise RetryNextRunError("GitHub has the account but did not list its gists") from None
    if not _names_only_this_account(target, poll, page):
        raise RetryNextRunError("GitHub lists gists of another account under this login")
    return page


def _names_only_this_account(target: Target, poll: Poll, page: GistPage) -> bool:
    """Does no gist of the page name another owner? A gist without an owner needs the account's profile as proof."""
    expected = target.github_id or (poll.account and poll.account.id)
    owners = {gist.owner.id if gist.owner else None for gist in page.gists}
    return owners <= ({expected, None} if poll.account else {expected})


# --- how much is read ---
def _read_list(target: Target, poll: Poll, first: GistPage, github: GitHubClient) -> None:
    """Take page 1; and all others of a full read, while others are read one by one."""
    is_empty = not first.gists and not first.unreadable_gists
    if is_empty and (poll.account is None or poll.account.public_gists is None):
        login = poll.account.login if poll.account else target.login
        _follow_account(target, poll, github)
        if poll.account and login_key(poll.account.login) != login_key(login):  # Another account has the login now.
            first = _get_first_page_of_account(target, poll, github)
            poll.etag, is_empty = first.etag, not first.gists and not first.unreadable_gists
    if is_empty and poll.account and poll.account.public_gists:
        poll.incomplete_because = EMPTY_LIST
        return
    _add_page(poll, first)
    if not first.next_url:
        _end_list(target, poll)
    elif target.read_all:
        _read_pages(target, poll, first, github)
    else:
        poll.last_page = first


def _read_pages(target: Target, poll: Poll, page: GistPage, github: GitHubClient) -> None:
    """Read the pages after this one to the documented end of the list; if it is no full read, the next one only.

    Links that lead in circles, pages without a new gist, and more pages than GitHub can have, are no end.
    """
    poll.last_page = None
    try:
        while page.next_url:
            next_page = _get_next_page(target, poll, page, github)
            if next_page is None:
                break
            _add_page(poll, next_page)
            page = next_page
            if page.next_url and not target.read_all:
                poll.last_page = page
                return
    except (RejectedError, RetryNextRunError) as error:
        poll.incomplete_because = f"The list of gists could not be read to its end: {error}"
        return
    _end_list(target, poll, is_cut=bool(page.next_url))


def _get_next_page(target: Target, poll: Poll, page: GistPage, github: GitHubClient) -> GistPage | None:
    """None: GitHub lists no further than this."""
    url = page.next_url
    max_pages = MAX_PAGES * (PAGE_SIZE // SMALL_PAGE_SIZE if page.is_small else 1)
    if url in poll.visited or len(poll.visited) >= max_pages:
        raise InvalidResponseError("GitHub's links of the list of gists do not end")
    poll.visited |= {url}
    try:
        found = github.get_page(url)
    except RejectedError as error:
        if END_OF_LIST in str(error):
            return None
        raise
    if not _names_only_this_account(target, poll, found):
        raise InvalidResponseError("GitHub lists gists of another account on a further page")
    if not _ids(found):  # GitHub links pages that have gists only.
        raise InvalidResponseError("GitHub lists no gists on a further page")
    known = {gist.id for gist in poll.gists} | {gist.id for gist in poll.unreadable_gists}
    if found.next_url and not _ids(found) - known:
        raise InvalidResponseError("GitHub repeats the same gists in the list")
    return found


def _add_page(poll: Poll, page: GistPage) -> None:
    newest = {gist.id: gist for gist in page.gists}  # A list that moves repeats a gist; the later page is newer.
    poll.gists = [gist for gist in poll.gists if gist.id not in newest] + list(newest.values())
    poll.unreadable_gists += page.unreadable_gists


def _end_list(target: Target, poll: Poll, *, is_cut: bool = False) -> None:
    """The list was read to its end; `is_cut`: as far as GitHub lists it."""
    poll.last_page, poll.reached_end, poll.is_full_read = None, True, target.read_all
    if len(poll.gists) >= MAX_LISTED_GISTS:
        poll.remark = TOO_MANY
    else:
        poll.complete = not is_cut


def _ids(page: GistPage) -> set[str]:
    return {gist.id for gist in page.gists} | {gist.id for gist in page.unreadable_gists}
