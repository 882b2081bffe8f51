"""How a person and a gist are shown in Pipedrive. Pure functions; all text of GitHub's users is escaped."""

import re
from html import escape
from typing import Any

from people.models import Gist, Person
from people.models.github_names import LOGIN, profile_url
from sync.clients.pipedrive_records import NewActivity, PipedrivePerson
from sync.crm.gist_ids import names_gist

MAX_SUBJECT_LENGTH = 255  # characters
MAX_NOTE_BYTES = 100_000  # Pipedrive accepts 100 KB
MAX_DESCRIPTION_BYTES = 60_000  # of the note, escaped
MAX_AUTHOR_BYTES = 4000  # of the note; more than the longest line can have
MAX_PROFILE_LENGTH = 200  # characters of a company or location


def person_name(person: Person) -> str:
    """ "Ada Lovelace (@ada)" or "@ada": readable, and recognised by the login at its end."""
    handle = f"@{person.github_username}"
    name = one_line(person.name).replace("@", "")[:200].strip()
    return f"{name} ({handle})" if name else handle


def has_our_name(candidate: PipedrivePerson, login: str) -> bool:
    """Is this Pipedrive person named as `person_name` does? "@ada" does not match "@ada-b"."""
    name, handle = (candidate.name or "").strip().lower(), f"@{login.lower()}"
    return not candidate.is_deleted and (name == handle or name.endswith(f"({handle})"))


def has_email(candidate: PipedrivePerson, email: str) -> bool:
    return not candidate.is_deleted and email.lower() in [value.lower() for value in candidate.emails]


def new_activity(gist: Gist, author: Person, *, type: str, done: bool) -> NewActivity:
    """The activity of a gist."""
    due_date, due_time = due(gist)
    return NewActivity(
        subject=subject(gist), type=type, done=done, due_date=due_date, due_time=due_time, note=note(gist, author)
    )


def due(gist: Gist) -> tuple[str, str]:
    """Date and time at which the gist was published."""
    return f"{gist.github_created_at:%Y-%m-%d}", f"{gist.github_created_at:%H:%M}"


def subject(gist: Gist) -> str:
    """The description's first line, else the first file's name. Plain text: Pipedrive shows no HTML there.

    Escaped text would show as `&lt;`, so angle brackets are replaced by similar characters that open no tag.
    """
    lines = [one_line(line) for line in gist.description.splitlines()]
    first_file = one_line(gist.files[0]["name"]) if gist.files else ""
    text = next((line for line in lines if line), first_file) or f"Gist {gist.github_id}"
    text = text.replace("<", "‹").replace(">", "›")
    return text if len(text) <= MAX_SUBJECT_LENGTH else text[: MAX_SUBJECT_LENGTH - 1] + "…"


def note(gist: Gist, author: Person) -> str:
    """HTML: what the gist is, and at the end who its author is."""
    return about_gist(gist) + about_author(author)


def about_gist(gist: Gist) -> str:
    """The link to the gist, the description, the files. It does not depend on the author.

    The gist's link is the first link of the note; it identifies the gist of an activity (see sync.crm.recognition).
    """
    parts = [f"<p>{html_link(gist.html_url)}</p>"]
    if gist.description.strip():
        parts.append(f"<p>{description(gist.description)}</p>")
    if gist.truncated:
        parts.append(f"<p>It has more files than GitHub lists. All files: {html_link(gist.pull_url)}</p>")
    else:
        parts.append(file_list(gist, MAX_NOTE_BYTES - MAX_AUTHOR_BYTES - byte_length("".join(parts))))
    return "".join(parts)


def about_author(author: Person) -> str:
    """One line: the link to the profile and, as GitHub shows them, company and location. Empty for an unknown login."""
    if not LOGIN.fullmatch(author.github_username):
        return ""
    parts = [f"GitHub profile: {html_link(profile_url(author.github_username))}"]
    for label, value in (("Company", author.company), ("Location", author.location)):
        text = one_line(value)[:MAX_PROFILE_LENGTH].strip()
        if text and not names_gist(text):
            parts.append(f"{label}: {escape(text)}")
    return f"<p>{' · '.join(parts)}</p>"


def description(text: str) -> str:
    """Escaped, with line breaks, and shortened to MAX_DESCRIPTION_BYTES."""
    html = escape_text(text.strip()).encode()
    if len(html) <= MAX_DESCRIPTION_BYTES:
        return html.decode()
    # Without a part of a character, of an entity or of a tag.
    return re.sub("[&<][^;>]*$", "", html[:MAX_DESCRIPTION_BYTES].decode(errors="ignore")) + "… (continued in the gist)"


def file_list(gist: Gist, room: int) -> str:
    """As many whole lines as fit into `room` bytes, then a link to the rest."""
    rest = f"<li>and more files: {html_link(gist.html_url)}</li>"
    lines, used = [], byte_length("<ul></ul>") + byte_length(rest)
    for file in gist.files:
        line = file_line(file)
        used += byte_length(line)
        if used > room:
            lines.append(rest)
            break
        lines.append(line)
    return f"<ul>{''.join(lines)}</ul>" if lines else ""


def file_line(file: dict[str, Any]) -> str:
    language = f"{escape(file['language'])}, " if file["language"] else ""
    return f"<li>{html_link(file['raw_url'], file['name'])} ({language}{file['size']} bytes)</li>"


def html_link(url: str, text: str = "") -> str:
    return f'<a href="{escape(url)}">{escape(text or url)}</a>'


def escape_text(text: str) -> str:
    return escape(text).replace("\r\n", "\n").replace("\n", "<br>")


def one_line(text: str) -> str:
    """Without control characters and repeated spaces."""
    return " ".join("".join(character if character.isprintable() else " " for character in text).split())


def byte_length(text: str) -> int:
    return len(text.encode())
