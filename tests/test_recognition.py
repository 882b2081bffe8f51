"""The gist of an activity is recognised, also after a colleague has edited the activity."""

from datetime import UTC, datetime
from html import escape, unescape
from urllib.parse import quote

import pytest

from people.models import Gist, Person
from sync.clients.pipedrive_records import Activity
from sync.crm.activity import about_gist, new_activity
from sync.crm.recognition import fingerprint_of, match_gists, page_of_gist_in, shows
from tests.conftest import Sync
from tests.factories import create_person, lose_database
from tests.standins import GitHubStandIn, PipedriveStandIn, reset

ID = "2decf6c462d9b4418f2d2decf6c462d9"
OTHER_ID = "ffffffffffffffffffffffffffffffff"
URL = f"https://gist.github.com/ada/{ID}"


def build_gist(gist_id: str = ID, pk: int = 1, description: str = "Notes", minute: int = 5) -> Gist:
    moment = datetime(2026, 1, 31, 23, minute, tzinfo=UTC)
    return Gist(
        pk=pk,
        github_id=gist_id,
        description=description,
        html_url=f"https://gist.github.com/ada/{gist_id}",
        pull_url=f"https://gist.github.com/{gist_id}.git",
        files=[],
        github_created_at=moment,
        github_updated_at=moment,
    )


GIST = build_gist()
ADA = Person(github_username="ada", company="Engines", location="London")
UNTOUCHED = new_activity(GIST, ADA, type="task", done=True)


def activity_with(note: str | None, **changes: object) -> Activity:
    fields = {"subject": "Edited", "due_date": "2026-02-02", "due_time": "09:00", **changes}
    return Activity(7, note=note, **fields)  # type: ignore[arg-type]


EDITED = {
    "untouched": UNTOUCHED.note,
    "text before the link": f"<p>Called him about this:</p>{UNTOUCHED.note}",
    "another link before": f'<p>See <a href="https://crm.test/deal/7">the deal</a></p>{UNTOUCHED.note}',
    "an image before": f'<img src="https://x.test/a.png">{UNTOUCHED.note}',
    "the link as text": f"He published {URL} today",
    "text without a scheme": f"gist.github.com/ada/{ID}",
    "only the id": f"about {ID}.",
    "the id in brackets": f"(gist {ID})",
    "escaped twice": escape(escape(UNTOUCHED.note)),
    "with a query": f'<a href="{URL}?file=notes.md">x</a>',
    "with a fragment": f'<a href="{URL}#file-notes-md">x</a>',
    "with a query and entities": f'<a href="{URL}?a=1&amp;b=2#c">x</a>',
    "with a slash at the end": f"<a href='{URL}/'>x</a>",
    "without quotes": f"<a href={URL}>x</a>",
    "without the login": f'<a href="https://gist.github.com/{ID}">x</a>',
    "the link to clone": f'<a href="https://gist.github.com/{ID}.git">x</a>',
    "a raw file": f'<a href="https://gist.githubusercontent.com/ada/{ID}/raw/0e1f/notes.md">x</a>',
    "through a redirect": f'<a href="https://click.test/?to={quote(URL, safe="")}">x</a>',
    "upper case": f'<A HREF="HTTPS://GIST.GITHUB.COM/ada/{ID}">x</A>',
    "line breaks": f"a\n\n{URL}\nb",
    "non-breaking spaces": f"see&nbsp;{URL}&nbsp;please",
    "a long text before": "x" * 50_000 + UNTOUCHED.note,
    "enterprise server": f'<a href="https://git.company.test/gist/ada/{ID}">x</a>',
    "another gist mentioned after it": f"{UNTOUCHED.note} compare https://gist.github.com/ben/{OTHER_ID}",
}


@pytest.mark.parametrize("edit", EDITED)
def test_a_gist_is_recognised_in_an_edited_note(edit: str) -> None:
    assert match_gists([GIST], [fingerprint_of(activity_with(EDITED[edit]))]) == {1: 7}


@pytest.mark.parametrize("note", [None, "", "<p>see the deal</p>"])
def test_subject_and_due_time_decide_without_an_id(note: str | None) -> None:
    same = {"subject": "Notes", "due_date": "2026-01-31", "due_time": "23:05:00"}

    assert match_gists([GIST], [fingerprint_of(activity_with(note, **same))]) == {1: 7}
    for name, other in (("subject", "Other"), ("due_date", "2026-01-30"), ("due_time", "23:06")):
        assert match_gists([GIST], [fingerprint_of(activity_with(note, **{**same, name: other}))]) == {}


UNRELATED = {
    "nothing": None,
    "another gist": f"https://gist.github.com/ada/{OTHER_ID}",
    "a longer id": f"https://gist.github.com/ada/{ID}00",
    "a part of the id": f"https://gist.github.com/ada/{ID[:20]}",
    "part of a longer word": f"x{ID}",
    "another site": "https://example.com/report",
}


@pytest.mark.parametrize("note", UNRELATED)
def test_other_activities_are_not_recognised(note: str) -> None:
    assert match_gists([GIST], [fingerprint_of(activity_with(UNRELATED[note]))]) == {}


def test_an_old_numeric_id_needs_the_address_of_a_gist() -> None:
    old = build_gist("1234567")

    assert match_gists([old], [fingerprint_of(activity_with("https://gist.github.com/ada/1234567?x"))]) == {1: 7}
    assert match_gists([old], [fingerprint_of(activity_with("call 1234567"))]) == {}


def test_a_gist_that_mentions_another_one_is_not_taken_for_it() -> None:
    mentioned = build_gist(OTHER_ID, pk=2, description="Other", minute=9)
    mentioning = build_gist(description=f"see https://gist.github.com/ada/{OTHER_ID}")
    sent = new_activity(mentioning, ADA, type="task", done=True)
    activity = Activity(7, subject=sent.subject, note=sent.note, due_date=sent.due_date, due_time=sent.due_time)

    assert match_gists([mentioned, mentioning], [fingerprint_of(activity)]) == {1: 7}
    assert match_gists([mentioned], [fingerprint_of(activity)]) == {}


def test_an_activity_belongs_to_one_gist_only() -> None:
    twins = [build_gist(), build_gist(OTHER_ID, pk=2)]
    without_ids = [
        Activity(number, subject="Notes", note="", due_date="2026-01-31", due_time="23:05") for number in (7, 8)
    ]

    assert match_gists(twins, [fingerprint_of(activity) for activity in without_ids[:1]]) == {1: 7}
    assert match_gists(twins, [fingerprint_of(activity) for activity in without_ids]) == {1: 7, 2: 8}


def test_the_untouched_activity_of_a_twin_is_not_taken() -> None:
    """Two gists with one description, published in the same minute; only one has its activity."""
    twin = build_gist(OTHER_ID, pk=2)
    sent = new_activity(twin, ADA, type="task", done=True)
    activity = Activity(7, subject=sent.subject, note=sent.note, due_date=sent.due_date, due_time=sent.due_time)

    assert match_gists([GIST], [fingerprint_of(activity)]) == {}
    assert match_gists([GIST, twin], [fingerprint_of(activity)]) == {2: 7}


def test_of_two_activities_of_a_gist_the_oldest_counts() -> None:
    copies = [Activity(9, note=UNTOUCHED.note), Activity(8, note=UNTOUCHED.note)]

    assert match_gists([GIST], [fingerprint_of(activity) for activity in copies]) == {1: 8}


def test_a_note_that_pipedrive_has_rewritten_still_shows_the_gist() -> None:
    rewritten = UNTOUCHED.note.replace("<p>", "<div>\n").replace("</p>", "</div>")

    assert shows(Activity(7, note=f"<b>Called</b>{rewritten}"), about_gist(GIST))
    assert not shows(Activity(7, note=rewritten), about_gist(build_gist(description="Edited")))


PROFILE_TEXTS = {
    "the page of a gist": f"https://gist.github.com/ben/{OTHER_ID}",
    "without a scheme": f"gist.github.com/{OTHER_ID}",
    "enterprise server": f"https://git.company.test/gist/ben/{OTHER_ID}",
    "an id": OTHER_ID,
    "an id in upper case": OTHER_ID.upper(),
    "a word that is an id when it is cut": "x " * 84 + OTHER_ID * 20,
    "a link": f'<a href="https://gist.github.com/ben/{OTHER_ID}">x</a>',
    "the end of our line": f'</p><p><a href="https://gist.github.com/ben/{OTHER_ID}">x</a>',
    "HTML entities": "".join(f"&#{ord(character)};" for character in f"https://gist.github.com/{OTHER_ID}"),
    "escaped twice": escape(escape(f'"https://gist.github.com/ben/{OTHER_ID}"')),
    "URL encoding": quote(f"https://gist.github.com/ben/{OTHER_ID}", safe=""),
    "URL encoding, twice": quote(quote(f"https://gist.github.com/ben/{OTHER_ID}", safe=""), safe=""),
    "an entity in URL encoding": f"gist.github.com%26%2347%3B{OTHER_ID}",
    "invisible characters": f"gist.github.com/\u200b{OTHER_ID}",
    "two lines": f"\n{OTHER_ID}\n",
}


@pytest.mark.parametrize("text", PROFILE_TEXTS)
@pytest.mark.parametrize("column", ["company", "location"])
@pytest.mark.parametrize("edit", ["untouched", "the link was removed", "escaped", "unescaped"])
def test_nothing_in_a_profile_makes_an_activity_look_like_that_of_another_gist(
    edit: str, column: str, text: str
) -> None:
    """Not even at the minute in which the other gist was published."""
    other = build_gist(OTHER_ID, pk=2, description="Other")
    author = Person(github_username="ada", **{column: PROFILE_TEXTS[text]})
    sent = new_activity(GIST, author, type="task", done=True)
    gist_link = f'<p><a href="{URL}">{URL}</a></p>'
    assert sent.note.startswith(gist_link)
    notes = {"untouched": sent.note, "the link was removed": sent.note.removeprefix(gist_link)}
    note = notes.get(edit) or (escape(sent.note) if edit == "escaped" else unescape(sent.note))

    fingerprint = fingerprint_of(Activity(7, note=note, due_date=sent.due_date, due_time=sent.due_time))

    assert fingerprint.first_id == ("" if edit in ("the link was removed", "escaped") else ID)
    assert fingerprint.ids == (() if edit == "the link was removed" else (ID,))
    assert match_gists([other], [fingerprint]) == {}


@pytest.mark.parametrize("note", [EDITED["untouched"], EDITED["another link before"], EDITED["with a query"]])
def test_the_page_of_a_gist_is_found_without_knowing_the_gist(note: str) -> None:
    assert page_of_gist_in(note) == ID


NOTE_EDITS = {
    "text before": "<p>Called, see <a href='https://crm.test/7'>7</a></p>{note}",
    "link as text": "he wrote {url} today",
    "query and fragment": '<a href="{url}?file=a#b">gist</a>',
    "escaped": "&lt;a href=&quot;{url}&quot;&gt;",
    "nothing left": "done",
}


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("edit", NOTE_EDITS)
@pytest.mark.parametrize("reason", ["lost response", "lost database"])
def test_no_gist_is_pushed_again_after_its_note_was_edited(
    reason: str, edit: str, ada: Person, github: GitHubStandIn, pipedrive: PipedriveStandIn, sync: Sync
) -> None:
    github.publish("ada", "First")
    sync()
    github.publish("ada", "Second")
    if reason == "lost response":
        pipedrive.fail("create_activity", reset(after=True))
    sync()
    for number, row in list(pipedrive.activities.items()):
        gist_id = page_of_gist_in(row["note"])
        url = f"https://gist.github.com/ada/{gist_id}"
        pipedrive.edit_activity(number, note=NOTE_EDITS[edit].format(note=row["note"], url=url))
    if reason == "lost database":
        lose_database()
        create_person("ada")

    summary = sync()

    assert (summary.code, len(pipedrive.activities), len(pipedrive.persons)) == (0, 2, 1), summary
    assert set(Gist.objects.values_list("push_state", flat=True)) == {"pushed"}
