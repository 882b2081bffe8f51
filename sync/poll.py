"""Ask GitHub for one person's gists. Plain functions, called in the threads of the poll lane.

How much is read:
- Page 1 is requested with its ETag. 304 means that nothing changed on it. A list that fits one page is covered
  whole by that ETag, so its 304 is a full pass.
- After a change, pages are read until one whole page is already stored.
- Once a day (a full pass) the further pages are requested with their own ETags, and read again if one changed.
- Once in seven days (a full read) everything is read without ETags.

Who it is about: a login proves nothing. Each listed gist names its owner. Once a day, and whenever a response could be
about another account, the account is requested by its numeric id and followed to its present login.

What is believed: a list is complete only when it was read to its documented end. From an incomplete one its gists are
stored, and nothing else is concluded.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

from django.db.models import Q

from gisttracker.database import retried
from people.freshness import MAX_CLOCK_ERROR
from people.github_names import LOGIN, login_key
from people.models import Gist, Person, Suppressed
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
FULL_PASS_EVERY = timedelta(days=1)
FULL_READ_EVERY = timedelta(days=7)
PROFILE_CHECK_EVERY = timedelta(days=1)
RARE_PROFILE_CHECK_EVERY = timedelta(days=2)  # with more than MAX_CHECKED_DAILY people, if the list names its owner
MAX_CHECKED_DAILY = 140_000  # people; one token has 162,000 requests in a round of three hours
END_OF_LIST = "pagination is limited"  # GitHub's words in a 422 for a page beyond the listed gists
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
    account: Account | None = None  # if the profile was requested and had changed
    profile_etag: str | None = None  # if the profile was checked
    gists: list[PublicGist] = field(default_factory=list)
    unreadable_gists: list[UnreadableGist] = field(default_factory=list)  # listed gists that cannot be read
    etag: str = ""
    page_etags: list[list[str]] | None = None  # see Person.page_etags
    unchanged: bool = False
    is_full_pass: bool = False
    is_full_read: bool = False
    complete: bool = False  # `gists` is the whole list: what is missing was removed
    incomplete_because: str = ""  # why the list could not be read to its end, or is not believed


class _UnpollableError(Exception):
    """The account cannot be polled; `state` is the person's new state."""

    def __init__(self, state: str, reason: str) -> None:
        super().__init__(reason)
        self.state = state


class SuppressedError(Exception):
    """The account's owner asked not to be tracked: the person is to be erased. See people.forget."""


def is_full_pass_due(person: Person, now: datetime) -> bool:
    return not _is_recent(person.full_pass_at, now - FULL_PASS_EVERY, now)


def is_full_read_due(person: Person, now: datetime) -> bool:
    if person.state != Person.State.ACTIVE:
        return True
    return not _is_recent(person.full_read_at, _latest_moment(person, now, FULL_READ_EVERY), now)


def is_profile_check_due(person: Person, now: datetime, *, is_crowded: bool = False) -> bool:
    """Daily. With too many people for that (`is_crowded`), rarely if every response names whose login it is."""
    is_rare = is_crowded and not person.list_is_empty
    every = RARE_PROFILE_CHECK_EVERY if is_rare else PROFILE_CHECK_EVERY
    return not _is_recent(person.profile_checked_at, _latest_moment(person, now, every), now)


def _is_recent(time: datetime | None, since: datetime, now: datetime) -> bool:
    """A time in the future is wrong and counts as old."""
    return time is not None and since <= time <= now + MAX_CLOCK_ERROR


def _latest_moment(person: Person, now: datetime, every: timedelta) -> datetime:
    """Each person has a fixed moment in each interval, so that the requests are spread evenly over it."""
    offset = timedelta(minutes=person.pk * SPREAD) % every
    return now - (now - EPOCH - offset) % every


def poll_person(person: Person, github: GitHubClient, *, now: datetime, full: bool, is_crowded: bool = False) -> Poll:
    """Read what is new. `full` reads every page without ETags; `is_crowded`: see `is_profile_check_due`.

    Raises what the client raises: RejectedError, CircuitOpenError, RetryNextRunError, RunStoppedError. And
    SuppressedError.
    """
    poll = Poll(person, now)
    read_all = full or is_full_read_due(person, now)
    try:
        _check_profile(poll, github, is_crowded)
        page = _get_first_page(poll, github, read_all)
        if page.unchanged:
            _check_further_pages(poll, page, github)
        else:
            _read_list(poll, page, github, read_all or is_full_pass_due(person, now))
    except _UnpollableError as verdict:
        return Poll(person, now, state=verdict.state, reason=str(verdict))
    return poll


# --- who it is ---
def _check_profile(poll: Poll, github: GitHubClient, is_crowded: bool) -> None:
    """Does the account still have this login? Free while the profile does not change."""
    person = poll.person
    if person.github_id is None:
        if _has_suppressed_login(person):  # It was added at the moment at which it was forgotten.
            raise SuppressedError
        _set_account(poll, _get_new_account(person, github), github)
    elif is_profile_check_due(person, poll.attempted_at, is_crowded=is_crowded):
        etag = person.profile_etag if person.etag_scope == github.etag_scope else ""
        try:
            profile = github.check_account(person.github_id, etag)
        except NotFoundError:
            raise _gone(UNKNOWN_ACCOUNT) from None
        poll.profile_etag = profile.etag if profile else person.profile_etag
        if profile:
            _set_account(poll, profile.account, github)


def _get_new_account(person: Person, github: GitHubClient) -> Account:
    try:
        return github.get_account(person.github_username)
    except NotFoundError:
        raise _gone(UNKNOWN_LOGIN) from None


def _follow_account(poll: Poll, github: GitHubClient) -> None:
    """The login may be about another account: look up where this account is now."""
    account_id = poll.person.github_id or (poll.account.id if poll.account else None)
    if account_id is None:
        raise _gone(UNKNOWN_LOGIN)
    try:
        _set_account(poll, github.get_account_by_id(account_id), github)
    except NotFoundError:
        raise _gone(UNKNOWN_ACCOUNT) from None


def _set_account(poll: Poll, account: Account, github: GitHubClient) -> None:
    if _is_suppressed(account):
        _confirm_suppressed(poll.person, account, github)
        raise SuppressedError
    if account.type == "Organization":
        raise _gone("The account is an organisation; organisations have no gists.")
    _check_not_tracked(poll.person, account)
    poll.account = account


@retried
def _has_suppressed_login(person: Person) -> bool:
    return Suppressed.objects.has_login(person.github_username)


@retried
def _is_suppressed(account: Account) -> bool:
    return Suppressed.objects.has_github_id(account.id)


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


def _gone(reason: str) -> _UnpollableError:
    return _UnpollableError(Person.State.GONE, reason)


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
def _check_further_pages(poll: Poll, first: GistPage, github: GitHubClient) -> None:
    """Page 1 is unchanged: decide whether the whole list is, and read it if it is not."""
    person = poll.person
    poll.unchanged = True
    # A next page that was not there before means that the list has grown beyond page 1.
    known = None if first.next_url and not person.page_etags else person.page_etags
    if known == []:
        poll.is_full_pass = True
    elif is_full_pass_due(person, poll.attempted_at):
        if known and all(github.get_page(url, etag).unchanged for url, etag in known):
            poll.is_full_pass = True
        else:
            poll.unchanged = False
            _read_list(poll, github.get_first_page(person.github_username), github, read_all=True)


def _read_list(poll: Poll, first: GistPage, github: GitHubClient, read_all: bool) -> None:
    """Read to the end, or until one whole page is already stored, and decide what of it is believed."""
    etags: list[list[str]] = []
    listed: dict[str, PublicGist] = {}
    last_page = first
    reached_end = True
    try:
        for page, url in _iter_pages(poll, first, github):
            last_page = page
            listed.update((gist.id, gist) for gist in page.gists)
            poll.unreadable_gists += page.unreadable_gists
            etags += [[url, page.etag]] if url else []
            if page.next_url and not read_all and _is_stored(page):
                reached_end = False
                break
    except (RejectedError, RetryNextRunError) as error:
        poll.incomplete_because = f"The list of gists could not be read to its end: {error}"
    poll.gists = list(listed.values())
    if not poll.incomplete_because and reached_end and not _is_believed(poll, github):
        poll.incomplete_because = (
            "GitHub lists fewer gists than the profile counts; the list is read again in the next run."
        )
    if poll.incomplete_because:
        return
    poll.etag = first.etag
    poll.is_full_pass = poll.is_full_read = reached_end
    poll.page_etags = _further_page_etags(poll, etags, last_page if reached_end else None)
    if len(listed) >= MAX_LISTED_GISTS:
        poll.reason = f"GitHub lists only the newest {MAX_LISTED_GISTS} gists of an account, so older ones are missing."
    else:
        poll.complete = reached_end and not last_page.next_url


def _iter_pages(poll: Poll, first: GistPage, github: GitHubClient) -> Iterator[tuple[GistPage, str]]:
    """The pages with their URLs (empty for the first), until the documented end of the list.

    Links that lead in circles, pages without a new gist, and more pages than GitHub can have, are no end:
    InvalidResponseError.
    """
    page, url = first, ""
    visited: set[str] = set()
    seen = _ids(first)
    yield first, ""
    while page.next_url:
        url = page.next_url
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
        yield page, url


def _is_believed(poll: Poll, github: GitHubClient) -> bool:
    """Can this be the whole list? Checked when it is empty, and when it decides what of the old gists is exported.

    Lists of existing data are sometimes empty, or short, for a moment. The profile's count, or a second reading with
    the same result, confirms a short list; an empty one needs the profile.
    """
    person = poll.person
    if poll.gists and person.backfill_decided_at:
        return True
    if poll.account is None or poll.account.public_gists is None:
        _follow_account(poll, github)
    count = poll.account.public_gists if poll.account else None
    listed = len(poll.gists) + len(poll.unreadable_gists)
    if count is None or count <= listed or len(poll.gists) >= MAX_LISTED_GISTS:
        return True
    if not listed:
        return False
    again = list(_iter_pages(poll, github.get_first_page(_login(poll)), github))
    return {gist.id for page, _ in again for gist in page.gists} == {gist.id for gist in poll.gists}


def _ids(page: GistPage) -> set[str]:
    return {gist.id for gist in page.gists} | {gist.id for gist in page.unreadable_gists}


def _login(poll: Poll) -> str:
    return poll.account.login if poll.account else poll.person.github_username


def _further_page_etags(poll: Poll, etags: list[list[str]], last_page: GistPage | None) -> list[list[str]] | None:
    """The ETags that cover the pages after the first; None when nothing covers the whole list."""
    if last_page is None:  # The stored ETags of the unread pages still tell at the next full pass whether these moved.
        return poll.person.page_etags or None
    is_covered = not last_page.is_full and all(etag and len(etag) <= MAX_ETAG_LENGTH for _, etag in etags)
    return etags if is_covered else None


@retried
def _is_stored(page: GistPage) -> bool:
    ids = [gist.id for gist in page.gists]
    return not page.unreadable_gists and Gist.objects.filter(github_id__in=ids).count() == len(ids)
