"""The admin of people, their gists and the consumers of the API."""

from people.admin import consumers, gists, people

__all__ = ["consumers", "gists", "people"]
