"""The admin of the runs and alarms, and what the pages of people and gists show about their pushes."""

from django.contrib import admin

from sync.admin import alarms, attempts, runs

__all__ = ["alarms", "attempts", "runs"]

admin.site.index_template = "admin/sync/index.html"  # the panel above the list of the models
