"""The admin of people, their gists and the consumers of the API."""

from people.admin import consumers, forget, gists, people, visits

__all__ = ["consumers", "forget", "gists", "people", "visits"]
