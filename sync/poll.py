"""Ask GitHub for one person's gists. Plain functions, called in the threads of the poll lane.

How much is read:
- Page 1 is requested with its ETag. 304 means that nothing changed on it. A list that fits one page is covered
  whole by that ETag, so its 304 is a full pass.
- After a change, pages are read until one whole page is already stored.
- Once a day (a full pass) the further pages are requested with their own ETags, and read again if one changed.
- Once in seven days (a full read) everything is read without ETags.
"""

from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

from django.db.models import Q

from people.github_names import login_key
from people.models import Gist, Person
from sync.clients.errors import NotFoundError, RejectedError, RetryNextRunError
from sync.clients.github import MAX_LISTED_GISTS, Account, GistPage, GitHubClient, PublicGist

MAX_ETAG_LENGTH = 255  # a longer one cannot be stored byte for byte, so it is not stored at all
FULL_PASS_EVERY = timedelta(days=1)
FULL_READ_EVERY = timedelta(days=7)
UNPROCESSABLE = 422  # the status of a page beyond the listed gists
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
    etag: str = ""
    page_etags: list[list[str]] | None = None  # see Person.page_etags
    unchanged: bool = False
    is_full_pass: bool = False
    is_full_read: bool = False
    complete: bool = False  # `gists` is the whole list: what is missing was removed


class _UnpollableError(Exception):
    """The account cannot be polled; `state` is the person's new state."""

    def __init__(self, state: str, reason: str) -> None:
        super().__init__(reason)
        self.state = state


def is_full_pass_due(person: Person, now: datetime) -> bool:
    return person.full_pass_at is None or person.full_pass_at < now - FULL_PASS_EVERY


def is_full_read_due(person: Person, now: datetime) -> bool:
    """Each person has a fixed moment in the week, so that the full reads are spread evenly over it."""
    if person.state != Person.State.ACTIVE or person.full_read_at is None:
        return True
    offset = timedelta(minutes=person.pk * SPREAD) % FULL_READ_EVERY
    latest = now - (now - EPOCH - offset) % FULL_READ_EVERY
    return person.full_read_at < latest


def poll_person(person: Person, github: GitHubClient, *, now: datetime, full: bool) -> Poll:
    """Read what is new. `full` reads every page without ETags.

    Raises what the client raises: RejectedError, CircuitOpenError, RetryNextRunError, RunStoppedError.
    """
    poll = Poll(person, now)
    read_all = full or is_full_read_due(person, now)
    try:
        if person.github_id is None:
            poll.account = _get_new_account(person, github)
        page = _get_first_page(poll, github, read_all)
        if page.unchanged:
            _check_further_pages(poll, page, github)
        else:
            _read_pages(poll, page, github, read_all or is_full_pass_due(person, now))
    except _UnpollableError as verdict:
        return Poll(person, now, state=verdict.state, reason=str(verdict))
    return poll


def _get_new_account(person: Person, github: GitHubClient) -> Account:
    try:
        account = github.get_account(person.github_username)
    except NotFoundError:
        raise _UnpollableError(Person.State.GONE, f"GitHub has no account named {person.github_username}.") from None
    if account.type == "Organization":
        raise _UnpollableError(Person.State.GONE, f"{account.login} is an organisation; organisations have no gists.")
    _check_not_tracked(person, Q(github_id=account.id))
    return account


def _check_not_tracked(person: Person, same: Q) -> None:
    other = Person.objects.filter(same).exclude(pk=person.pk).first()
    if other:
        raise _UnpollableError(
            Person.State.CONFLICT,
            f"This GitHub account is already tracked as {other} (added {other.created_at:%Y-%m-%d}): "
            "delete one of the two.",
        )


def _get_first_page(poll: Poll, github: GitHubClient, read_all: bool) -> GistPage:
    """Page 1. A login that GitHub does not know any more is looked up by the account's id."""
    person = poll.person
    login = poll.account.login if poll.account else person.github_username
    etag = person.etag if person.etag_scope == github.etag_scope and not read_all else ""
    try:
        return github.get_first_page(login, etag)
    except NotFoundError:
        poll.account = _get_account_by_id(person, github)
    if login_key(poll.account.login) == login_key(login):
        raise RetryNextRunError(f"GitHub has the account @{login} but did not list its gists")
    _check_not_tracked(person, Q(username_key=login_key(poll.account.login)))
    try:
        return github.get_first_page(poll.account.login)
    except NotFoundError:
        raise _UnpollableError(Person.State.GONE, "GitHub does not know this account any more.") from None


def _get_account_by_id(person: Person, github: GitHubClient) -> Account:
    if person.github_id is None:
        raise _UnpollableError(Person.State.GONE, f"GitHub has no account named {person.github_username}.")
    try:
        return github.get_account_by_id(person.github_id)
    except NotFoundError:
        raise _UnpollableError(Person.State.GONE, "GitHub does not know this account any more.") from None


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
            _read_pages(poll, github.get_first_page(person.github_username), github, read_all=True)


def _read_pages(poll: Poll, page: GistPage, github: GitHubClient, read_all: bool) -> None:
    """Read to the end, or until one whole page is already stored."""
    poll.etag = page.etag
    listed: dict[str, PublicGist] = {}
    etags: list[list[str]] = []
    reached_end = True
    while True:
        _check_owner(poll, page)
        listed.update((gist.id, gist) for gist in page.gists)
        if not page.next_url:
            break
        if not read_all and _is_stored(page):
            reached_end = False
            break
        url = page.next_url
        try:
            page = github.get_page(url)
        except RejectedError as error:
            if error.status != UNPROCESSABLE:
                raise
            break  # GitHub lists no further than this.
        etags.append([url, page.etag])
    poll.gists = list(listed.values())
    if len(listed) >= MAX_LISTED_GISTS:
        poll.reason = f"GitHub lists only the newest {MAX_LISTED_GISTS} gists of an account, so older ones are missing."
    else:
        poll.complete = reached_end and not page.next_url
    poll.is_full_pass = poll.is_full_read = reached_end
    poll.page_etags = _further_page_etags(poll, etags, page if reached_end else None)


def _further_page_etags(poll: Poll, etags: list[list[str]], last_page: GistPage | None) -> list[list[str]] | None:
    """The ETags that cover the pages after the first; None when nothing covers the whole list."""
    if last_page is None:  # The stored ETags of the unread pages still tell at the next full pass whether these moved.
        return poll.person.page_etags or None
    is_covered = not last_page.is_full and all(etag and len(etag) <= MAX_ETAG_LENGTH for _, etag in etags)
    return etags if is_covered else None


def _check_owner(poll: Poll, page: GistPage) -> None:
    expected = poll.person.github_id or (poll.account and poll.account.id)
    for gist in page.gists:
        if gist.owner is None or gist.owner.id != expected:
            owner = f"@{gist.owner.login} (GitHub id {gist.owner.id})" if gist.owner else "an unknown account"
            raise _UnpollableError(
                Person.State.CONFLICT,
                f"The login now belongs to {owner}, not to GitHub id {expected}; nothing was imported.",
            )


def _is_stored(page: GistPage) -> bool:
    ids = [gist.id for gist in page.gists]
    return Gist.objects.filter(github_id__in=ids).count() == len(ids)
