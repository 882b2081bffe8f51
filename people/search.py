"""The words by which a person is found."""

import re

MAX_TERM_LENGTH = 64


def search_terms(login: str, name: str, email: str) -> set[str]:
    """Return the login, the words of the name and the e-mail address, whole and split at punctuation, in lower case."""
    texts = [login, email, *email.split("@"), *name.split()]
    parts = [part for text in texts for part in re.split(r"[^\w]+|_", text)]
    return {word.lower()[:MAX_TERM_LENGTH] for word in [*texts, *parts] if word}
