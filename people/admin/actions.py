"""Actions that change selected rows of a list, or the one row of a page."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from django.contrib import messages
from django.contrib.admin.models import CHANGE, LogEntry
from django.contrib.contenttypes.models import ContentType
from django.db import models, transaction
from django.db.models import BooleanField, ExpressionWrapper, Q
from django.http import HttpRequest
from django.utils.translation import ngettext

from gisttracker.common.database import retried
from people.models.batches import BatchQuerySet

MAX_LOGGED = 1000  # rows of one action with entries of their own in the history; the others share one
Words = tuple[str, str]  # singular and plural, with %d


def in_number(words: Words, count: int) -> str:
    return ngettext(*words, count) % count


@dataclass(frozen=True)
class RowAction:
    """An action of a list, and a button on the page of one row. Reports what it did, and writes the history.

    `apply` gets the rows that `selects` describes, and the name of the user; it returns how many rows it has changed,
    which may be rows of another table.
    """

    name: str
    label: str
    permission: str  # of the model's admin: has_..._permission
    selects: Q  # the rows that it changes
    apply: Callable[[Any, str], int]
    done: Words
    left: Words  # the other rows, and why they are not changed
    history: str

    @property
    def __name__(self) -> str:
        return self.name  # Django's name of an action

    @property
    def short_description(self) -> str:
        return self.label

    @property
    def allowed_permissions(self) -> list[str]:
        return [self.permission]

    def __call__(self, model_admin: Any, request: HttpRequest, rows: Any) -> None:
        """Apply it in batches, each with its part of the history in one transaction."""
        changed = matching = selected = 0
        for batch in rows.in_batches():
            log_up_to = max(MAX_LOGGED - matching, 0)
            batch_selected, batch_matching, batch_changed = self._apply(request, batch, log_up_to)
            changed, matching, selected = changed + batch_changed, matching + batch_matching, selected + batch_selected
        if matching > MAX_LOGGED:
            log_summary(request, rows.model, matching - MAX_LOGGED, self.history)
        text = [in_number(self.done, changed)] if changed or not selected else []
        text += [in_number(self.left, selected - matching)] if selected > matching else []
        text = text or ["Nothing was changed: the rows were changed meanwhile."]
        model_admin.message_user(request, " ".join(text), messages.SUCCESS if changed else messages.WARNING)

    @retried
    def _apply(self, request: HttpRequest, batch: BatchQuerySet[Any], log_up_to: int) -> tuple[int, int, int]:
        """Returns how many rows are in the batch, how many of them it was applied to, and how many have changed."""
        with transaction.atomic():
            selected = batch.count()
            matching = list(batch.filter(self.selects))
            keys = [row.pk for row in matching]
            changed = self.apply(type(batch)(batch.model).filter(pk__in=keys), get_user_name(request)) if keys else 0
            if matching[:log_up_to]:
                log_rows(request, matching[:log_up_to], CHANGE, self.history)
        return selected, len(matching), changed


def find_applicable(actions: tuple[RowAction, ...], row: models.Model) -> list[RowAction]:
    """The actions that would change this row. One query."""
    conditions = {f"can_{action.name}": ExpressionWrapper(action.selects, BooleanField()) for action in actions}
    rows = type(row)._default_manager.filter(pk=row.pk).annotate(**conditions)
    found: dict[str, Any] = rows.values(*conditions).first() or {}
    return [action for action in actions if found.get(f"can_{action.name}")]


def get_user_name(request: HttpRequest) -> str:
    return str(request.user.get_username())


def log_rows(request: HttpRequest, rows: list[Any], flag: int, message: str) -> None:
    LogEntry.objects.log_actions(user_id=request.user.pk or 0, queryset=rows, action_flag=flag, change_message=message)


def log_summary(request: HttpRequest, model: type[models.Model], count: int, message: str) -> None:
    LogEntry.objects.create(
        user_id=request.user.pk or 0,
        content_type=ContentType.objects.get_for_model(model),
        object_repr=f"{count:,} more {model._meta.verbose_name_plural}",
        action_flag=CHANGE,
        change_message=message,
    )
