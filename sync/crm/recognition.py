"""Recognise the gist of an activity, also after people have edited the activity in Pipedrive.

The first link of an untouched note is the gist's page. Else the gist's id is looked for anywhere in the note: in links
and text, escaped, with a query or a fragment. Else subject, due date and due time decide.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from html import unescape

from people.models import Gist
from sync.clients.pipedrive_records import Activity
from sync.crm.activity import due, one_line, subject
from sync.crm.gist_ids import GIST_PAGE, decode, find_ids

FIRST_LINK = re.compile(r"""<a\b[^>]*?\bhref\s*=\s*["']?([^"'\s>]+)""", re.IGNORECASE)
MAX_TEXT = 8000  # characters of a note that are compared
TAG = re.compile(r"<[^>]*>")


@dataclass(frozen=True)
class Fingerprint:
    """What an activity shows of its gist. Small: notes have up to 100 KB, and lists many activities."""

    activity_id: int
    first_id: str  # of the note's first link, if that is the page of a gist
    ids: tuple[str, ...]  # in the note, in their order
    subject: str
    due: str  # YYYY-MM-DD HH:MM
    added_at: datetime | None = None
    text: str = ""  # the beginning of the note as plain text without spaces


def fingerprint_of(activity: Activity, *, with_text: bool = True) -> Fingerprint:
    first = FIRST_LINK.search(activity.note or "")
    page = GIST_PAGE.fullmatch(decode(first.group(1)).split("?")[0].split("#")[0].rstrip("/")) if first else None
    return Fingerprint(
        activity_id=activity.id,
        first_id=page.group(1) if page else "",
        ids=find_ids(decode(activity.note or "")),
        subject=one_line(activity.subject or ""),
        due=f"{activity.due_date} {(activity.due_time or '')[:5]}",
        added_at=activity.add_time,
        text=_plain_text(activity.note or "")[:MAX_TEXT] if with_text else "",
    )


def page_of_gist_in(note: str | None) -> str:
    """The id of the gist whose page is the note's first link, else the first gist page anywhere in it, else empty."""
    fingerprint = fingerprint_of(Activity(1, note=note))
    page = GIST_PAGE.search(decode(note or ""))
    return fingerprint.first_id or (page.group(1) if page else "")


def match_gists(gists: Iterable[Gist], activities: Iterable[Fingerprint]) -> dict[int, int]:
    """Activity ids by the primary keys of these gists. Each activity belongs to one gist at most.

    `activities`: those of one Pipedrive person that are not known to belong to another gist. The surest signs are used
    first, so that a link to another gist in a description does not decide.
    """
    found = match_ids(gists, activities)
    taken = set(found.values())
    for gist in gists:
        expected = _subject_and_due(gist)
        for activity in activities:
            is_free = (
                not activity.first_id and activity.activity_id not in taken
            )  # The page of a gist names another one.
            if gist.pk not in found and is_free and (activity.subject, activity.due) == expected:
                found[gist.pk] = activity.activity_id
                taken.add(activity.activity_id)
    return found


def match_ids(gists: Iterable[Gist], activities: Iterable[Fingerprint]) -> dict[int, int]:
    """As `match_gists`, by the ids in the notes only. Of several activities of a gist, the oldest counts."""
    by_id = {gist.github_id: gist for gist in gists}
    found: dict[int, int] = {}
    others = []
    for activity in sorted(activities, key=lambda activity: activity.activity_id):
        if activity.first_id in by_id:
            found.setdefault(by_id[activity.first_id].pk, activity.activity_id)
        else:
            others.append(activity)
    for activity in others:
        mentioned = [by_id[gist_id] for gist_id in activity.ids if gist_id in by_id and by_id[gist_id].pk not in found]
        due = [gist for gist in mentioned if _subject_and_due(gist)[1] == activity.due]
        # A note that begins with the page of another gist is probably about that one.
        candidates = due or ([] if activity.first_id else mentioned)
        if candidates:
            found[candidates[0].pk] = activity.activity_id
    return found


def _subject_and_due(gist: Gist) -> tuple[str, str]:
    return one_line(subject(gist)), " ".join(due(gist))


def shows(activity: Activity, note: str) -> bool:
    """Does the activity's note contain the text of this note? Pipedrive may store other HTML than it was sent."""
    return _plain_text(note)[: MAX_TEXT // 2] in _plain_text(activity.note or "")[:MAX_TEXT]


def _plain_text(html: str) -> str:
    return "".join(unescape(TAG.sub("", html)).split())
