"""What a person and a gist look like in Pipedrive. Pure functions; everything that GitHub's users wrote is escaped."""

import re
from html import escape
from typing import Any

from people.models import Gist, Person
from sync.clients.pipedrive import NewActivity, PipedrivePerson

SUBJECT_LENGTH = 255  # characters that a subject may have
NOTE_SIZE = 100_000  # bytes; Pipedrive takes 100 KB
DESCRIPTION_SIZE = 60_000  # bytes of the note that the description may take, escaped
FIRST_LINK = re.compile(r"""<a\b[^>]*?\bhref=["']([^"']+)["']""", re.IGNORECASE)


def person_name(person: Person) -> str:
    """ "Ada Lovelace (@ada)" or "@ada": readable, and found again by the login at its end."""
    handle = f"@{person.github_username}"
    name = one_line(person.name).replace("@", "")[:200].strip()
    return f"{name} ({handle})" if name else handle


def is_person(candidate: PipedrivePerson, login: str) -> bool:
    """Is this the Pipedrive person that we name so? "@ada" does not match "@ada-b"."""
    name, handle = candidate.name.strip().lower(), f"@{login.lower()}"
    return not candidate.is_deleted and (name == handle or name.endswith(f"({handle})"))


def has_email(candidate: PipedrivePerson, email: str) -> bool:
    return not candidate.is_deleted and email.lower() in [(one or "").lower() for one in candidate.emails]


def new_activity(gist: Gist, *, type: str, done: bool) -> NewActivity:
    """The activity of a gist, due at the moment the gist was published."""
    return NewActivity(
        subject=subject(gist),
        type=type,
        done=done,
        due_date=f"{gist.github_created_at:%Y-%m-%d}",
        due_time=f"{gist.github_created_at:%H:%M}",
        note=note(gist),
    )


def subject(gist: Gist) -> str:
    """The description's first line, else the first file's name. Plain text: Pipedrive shows no HTML there.

    Escaping would show as `&lt;`, so angle brackets become the look-alikes that can open no tag.
    """
    lines = [one_line(line) for line in gist.description.splitlines()]
    first_file = one_line(gist.files[0]["name"]) if gist.files else ""
    text = next((line for line in lines if line), first_file) or f"Gist {gist.github_id}"
    text = text.replace("<", "‹").replace(">", "›")
    return text if len(text) <= SUBJECT_LENGTH else text[: SUBJECT_LENGTH - 1] + "…"


def note(gist: Gist) -> str:
    """HTML: the link to the gist, the description, the files.

    The gist's link is the first link of the note: by it an activity is recognised as this gist's (see `gist_of`).
    """
    parts = [f"<p>{link(gist.html_url)}</p>"]
    if gist.description.strip():
        parts.append(f"<p>{description(gist.description)}</p>")
    if gist.truncated:
        parts.append(f"<p>It has more files than GitHub lists. All of them: {link(gist.pull_url)}</p>")
    else:
        parts.append(file_list(gist, NOTE_SIZE - size("".join(parts))))
    return "".join(parts)


def description(text: str) -> str:
    """Escaped, with its line breaks, and cut where it would fill the note."""
    html = escaped(text.strip())
    if size(html) <= DESCRIPTION_SIZE:
        return html
    kept, used = [], 0
    for character in text.strip():
        used += size(escaped(character))
        if used > DESCRIPTION_SIZE:
            break
        kept.append(character)
    return escaped("".join(kept)) + "… (the description goes on in the gist)"


def file_list(gist: Gist, room: int) -> str:
    """As many whole lines as there is room for (bytes), then where the rest is."""
    rest = f"<li>and more files: {link(gist.html_url)}</li>"
    lines, used = [], size("<ul></ul>") + size(rest)
    for file in gist.files:
        line = file_line(file)
        used += size(line)
        if used > room:
            lines.append(rest)
            break
        lines.append(line)
    return f"<ul>{''.join(lines)}</ul>" if lines else ""


def file_line(file: dict[str, Any]) -> str:
    language = f"{escape(file['language'])}, " if file["language"] else ""
    return f"<li>{link(file['raw_url'], file['name'])} ({language}{file['size']} bytes)</li>"


def link(url: str, text: str = "") -> str:
    return f'<a href="{escape(url)}">{escape(text or url)}</a>'


def escaped(text: str) -> str:
    return escape(text).replace("\r\n", "\n").replace("\n", "<br>")


def one_line(text: str) -> str:
    """Without control characters and runs of spaces."""
    return " ".join("".join(character if character.isprintable() else " " for character in text).split())


def size(text: str) -> int:
    return len(text.encode())


def gist_of(note: str | None) -> str:
    """The id of the gist that a note is about: the last part of its first link's path. Empty if there is no link.

    Only the first link counts, since a description may name other gists.
    """
    found = FIRST_LINK.search(note or "")
    return found.group(1).rstrip("/").rsplit("/", 1)[-1] if found else ""
