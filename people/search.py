"""What a search for people reads: all rows, so there is a maximum number of words."""

FIELDS = ["github_username", "name", "email"]  # Each word must be in one of them.
MAX_WORDS = 8
