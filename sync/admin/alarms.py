"""The alarms, read-only."""

from typing import Any

from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest
from django.utils import timezone
from django.utils.html import format_html
from django.utils.safestring import SafeString

from people.admin.base import Facts, FactsAdmin
from people.admin.filters import StrictListFilter
from people.admin.markup import badge, duration_in_words, time_in_words
from sync.models import Alarm

LEVELS = {Alarm.Severity.PAGE: "error", Alarm.Severity.TICKET: "warning"}


class OpenFilter(StrictListFilter):
    title = "state"
    parameter_name = "open"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return [("yes", "open"), ("no", "resolved")]

    def queryset(self, request: HttpRequest, alarms: QuerySet[Any]) -> QuerySet[Any]:
        value = self.value()
        return alarms.filter(open_code__isnull=value == "no") if value else alarms


@admin.register(Alarm)
class AlarmAdmin(FactsAdmin):
    list_display = ["code", "severity_badge", "message", "raised", "resolved", "duration"]
    list_filter = [OpenFilter, "severity"]

    @admin.display(description="severity")
    def severity_badge(self, alarm: Alarm) -> SafeString:
        return badge(alarm.severity, "quiet" if alarm.resolved_at else LEVELS[Alarm.Severity(alarm.severity)])

    @admin.display(description="raised")
    def raised(self, alarm: Alarm) -> SafeString:
        return time_in_words(alarm.raised_at)

    @admin.display(description="resolved")
    def resolved(self, alarm: Alarm) -> SafeString:
        return time_in_words(alarm.resolved_at) if alarm.resolved_at else badge("open", "error")

    @admin.display(description="duration")
    def duration(self, alarm: Alarm) -> str:
        return duration_in_words((alarm.resolved_at or timezone.now()) - alarm.raised_at)

    def get_facts(self, alarm: Alarm) -> Facts:
        return [
            ("Problem", alarm.code),
            ("Severity", self.severity_badge(alarm)),
            ("Message", alarm.named_message),
            ("Raised", self.raised(alarm)),
            ("Resolved", self.resolved(alarm)),
            ("Duration", self.duration(alarm)),
            ("Notified", format_html("{} · {}", *map(_describe_sent, (alarm.raise_sent_at, alarm.resolve_sent_at)))),
        ]


def _describe_sent(moment: Any) -> SafeString:
    return format_html("sent {}", time_in_words(moment)) if moment else format_html("{}", "not sent")
