"""The admin of the runs and alarms, and what the pages of people and gists show about their pushes."""

from sync.admin import alarms, attempts, runs

__all__ = ["alarms", "attempts", "runs"]
