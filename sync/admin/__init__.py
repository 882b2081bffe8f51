"""The admin of the runs."""

from sync.admin import runs

__all__ = ["runs"]
