"""The consumers of the API and their keys: add, rotate, revoke.

Keys have no pages of their own: their primary key contains the hash, and would stand in the addresses.
"""

from collections.abc import Callable, Iterable
from datetime import UTC, date, datetime, time, timedelta
from typing import Any

from django import forms
from django.contrib import admin, messages
from django.contrib.admin.models import CHANGE
from django.core.exceptions import PermissionDenied
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.urls import URLPattern, path, reverse
from django.utils import timezone
from django.utils.safestring import SafeString

from people.admin.actions import log_rows
from people.admin.base import DeskAdmin, Facts
from people.admin.markup import badge, in_words, time_in_words
from people.feed import find_newest
from people.keys import CreatedKey, create_key, parse_consumer_name, revoke, rotate_key
from people.models import ApiKey, Consumer

OVERLAPS = {"7": "7 days", "1": "1 day", "30": "30 days", "0": "none: the old keys end now"}  # days


class KeyForm(forms.Form):
    read_only = forms.BooleanField(
        required=False, help_text="The key may only read (which also moves the consumer's markers)."
    )
    expires = forms.DateField(
        required=False,
        label="Last day",
        help_text="on which the key is valid, in UTC, such as 2027-01-31; empty: it does not expire",
        widget=forms.DateInput(attrs={"type": "date"}),
    )

    def clean_expires(self) -> datetime | None:
        """Return the end of the day."""
        day = self.cleaned_data["expires"]
        if not day:
            return None
        if day < timezone.now().date():
            raise forms.ValidationError("The day is in the past.")
        if day == date.max:
            raise forms.ValidationError("Leave it empty for a key that does not expire.")
        return datetime.combine(day, time(), UTC) + timedelta(days=1)


class ConsumerForm(KeyForm):
    name = forms.CharField(help_text="the team or program that uses the API, at most 50 characters")
    field_order = ["name", "read_only", "expires"]

    def clean_name(self) -> str:
        name = _parse_name(self.cleaned_data["name"])
        if Consumer.objects.filter(name=name).exists():
            raise forms.ValidationError("A consumer has this name. Open its page to add a key.")
        return name


class RenameForm(forms.ModelForm):  # type: ignore[type-arg]  # generic only in the stubs
    class Meta:
        model = Consumer
        fields = ["name"]

    def clean_name(self) -> str:
        return _parse_name(self.cleaned_data["name"])


def _parse_name(text: str) -> str:
    try:
        return parse_consumer_name(text)
    except ValueError as error:
        raise forms.ValidationError(str(error)) from None


class RotationForm(forms.Form):
    overlap = forms.ChoiceField(choices=OVERLAPS.items(), label="The old keys stay valid for")


@admin.register(Consumer)
class ConsumerAdmin(DeskAdmin):
    list_display = ["name", "keys_in_words", "last_used", "feed_in_words", "added"]
    search_fields = ["name"]
    search_help_text = "the name"
    ordering = ["name"]
    form = RenameForm
    change_form_template = "admin/people/consumer/change_form.html"

    # --- the list ---
    @admin.display(description="keys")
    def keys_in_words(self, consumer: Any) -> SafeString | str:
        return describe_keys(consumer, consumer.shown_keys)

    @admin.display(description="last used")
    def last_used(self, consumer: Any) -> SafeString:
        return time_in_words(max((key.last_used_at for key in consumer.shown_keys if key.last_used_at), default=None))

    @admin.display(description="feed")
    def feed_in_words(self, consumer: Any) -> str:
        return describe_feed(consumer, consumer.feed_end)

    @admin.display(description="added")
    def added(self, consumer: Consumer) -> SafeString:
        return time_in_words(consumer.created_at)

    def prepare_rows(self, rows: list[Any]) -> None:
        keys, feed_end = list(ApiKey.objects.filter(consumer__in=rows)), find_newest()
        for consumer in rows:
            consumer.shown_keys = [key for key in keys if key.consumer_id == consumer.pk]
            consumer.feed_end = feed_end

    # --- the page of a consumer ---
    def get_page_context(self, request: HttpRequest, consumer: Any) -> dict[str, Any]:
        may_add = consumer.has_keys and request.user.has_perm("people.add_apikey")
        may_revoke = request.user.has_perm("people.change_apikey")
        keys = list(ApiKey.objects.filter(consumer=consumer).order_by("-created"))
        return {
            "facts": get_facts(consumer),
            "key_rows": [(key, describe_access(key), describe_validity(key), is_valid(key)) for key in keys],
            "may_revoke": may_revoke,
            "key_form": KeyForm() if may_add else None,
            "rotation_form": RotationForm() if may_add and may_revoke and any(map(is_valid, keys)) else None,
        }

    def has_change_permission(self, request: HttpRequest, consumer: Any = None) -> bool:
        """Staff and the anonymous consumer have names that the program gives them."""
        return super().has_change_permission(request, consumer) and (consumer is None or consumer.has_keys)

    def has_add_permission(self, request: HttpRequest) -> bool:
        return super().has_add_permission(request) and request.user.has_perm("people.add_apikey")

    def get_deleted_objects(self, consumers: Any, request: HttpRequest) -> Any:
        """The confirmation of a deletion counts: there may be a marker for each person."""
        rows = list(consumers)
        keys = ApiKey.objects.filter(consumer__in=rows).count()
        visits = sum(consumer.visits.count() for consumer in rows)
        names = [f"Consumer: {consumer}" for consumer in rows]
        lacking = set() if request.user.has_perm("people.delete_apikey") or not keys else {"API key"}
        return [*names, f"{keys} keys", f"{visits} visit markers"], {"consumers": len(rows), "keys": keys}, lacking, []

    # --- keys ---
    def get_urls(self) -> list[URLPattern]:
        def route(address: str, view: Callable[..., HttpResponse], name: str) -> URLPattern:
            return path(f"<int:pk>/keys/{address}/", self.admin_site.admin_view(view), name=f"people_consumer_{name}")

        return [
            route("add", self.add_key, "add_key"),
            route("rotate", self.rotate_keys, "rotate"),
            route("<slug:prefix>/revoke", self.revoke_key, "revoke_key"),
            *super().get_urls(),
        ]

    def add_view(self, request: HttpRequest, form_url: str = "", extra_context: Any = None) -> HttpResponse:
        """A new consumer gets its first key at once."""
        if not self.has_add_permission(request):
            raise PermissionDenied
        form = ConsumerForm(request.POST or None)
        if request.method == "POST" and form.is_valid():
            return self._show_created(request, self._create(form.cleaned_data["name"], form), "Added, with a key.")
        return self._render(request, "add_form.html", "Add consumer", form=form)

    def add_key(self, request: HttpRequest, pk: int) -> HttpResponse:
        consumer = self._get_consumer(request, pk, "people.add_apikey")
        form = KeyForm(request.POST)
        if not form.is_valid():
            return self._render(request, "add_form.html", f"Add a key of {consumer}", form=form, consumer=consumer)
        return self._show_created(request, self._create(consumer.name, form), "Added a key.")

    def rotate_keys(self, request: HttpRequest, pk: int) -> HttpResponse:
        consumer = self._get_consumer(request, pk, "people.add_apikey", "people.change_apikey")
        form = RotationForm(request.POST)
        if not form.is_valid():
            return self._return(request, consumer, "Choose how long the old keys stay valid.")
        try:
            created = rotate_key(consumer, timedelta(days=int(form.cleaned_data["overlap"])))
        except ValueError as error:
            return self._return(request, consumer, str(error))
        return self._show_created(request, created, "Rotated the keys.")

    def revoke_key(self, request: HttpRequest, pk: int, prefix: str) -> HttpResponse:
        consumer = self._get_consumer(request, pk, "people.change_apikey")
        key = next((key for key in ApiKey.objects.filter(consumer=consumer) if key.prefix == prefix), None)
        if key is None:
            raise Http404(f"{consumer} has no key {prefix}.")
        revoke(key)
        log_rows(request, [consumer], CHANGE, f"Revoked the key {prefix}.")
        return self._return(request, consumer, f"The key {prefix} is revoked.", messages.SUCCESS)

    def _get_consumer(self, request: HttpRequest, pk: int, *permissions: str) -> Consumer:
        """The consumer of a POST. Raises PermissionDenied or Http404."""
        if not all(map(request.user.has_perm, permissions)):
            raise PermissionDenied
        consumer = Consumer.objects.filter(pk=pk).first()
        if request.method != "POST" or consumer is None or not consumer.has_keys:
            raise Http404("There is no such consumer.")
        return consumer

    def _create(self, name: str, form: KeyForm) -> CreatedKey:
        return create_key(name, read_only=form.cleaned_data["read_only"], expires_at=form.cleaned_data["expires"])

    def _show_created(self, request: HttpRequest, created: CreatedKey, history: str) -> HttpResponse:
        """Not as a message after a redirect: messages are stored in a cookie."""
        log_rows(request, [created.consumer], CHANGE, f"{history} New key: {created.key.prefix}.")
        title = f"New key of {created.consumer}"
        return self._render(request, "new_key.html", title, created=created, consumer=created.consumer)

    def _return(
        self, request: HttpRequest, consumer: Consumer, message: str, level: int = messages.ERROR
    ) -> HttpResponse:
        self.message_user(request, message, level)
        return HttpResponseRedirect(reverse("admin:people_consumer_change", args=[consumer.pk]))

    def _render(self, request: HttpRequest, template: str, title: str, **context: Any) -> HttpResponse:
        page = {**self.get_frame(request, title), **context}
        return TemplateResponse(request, f"admin/people/consumer/{template}", page)


def is_valid(key: ApiKey) -> bool:
    return not key.revoked and not key.has_expired


def describe_keys(consumer: Consumer, keys: Iterable[ApiKey]) -> SafeString | str:
    """How many keys are valid, and until when."""
    if not consumer.has_keys:
        return "staff" if consumer.user_id else "no key is needed"
    valid = [key for key in keys if is_valid(key)]
    if not valid:
        return badge("no valid key", "error")
    ends = [key.expiry_date for key in valid if key.expiry_date]
    count = f"{len(valid)} valid key{'s' if len(valid) > 1 else ''}"
    if len(ends) < len(valid):
        return badge(count, "ok")
    return badge(f"{count}, the last one ends {in_words(max(ends))}", "warning")


def describe_access(key: ApiKey) -> str:
    return "read only" if key.read_only else "read and write"


def describe_validity(key: ApiKey) -> SafeString:
    if key.revoked:
        return badge("revoked", "error")
    end = f"{key.expiry_date:%Y-%m-%d %H:%M} UTC" if key.expiry_date else ""
    if key.has_expired:
        return badge(f"expired on {end}", "error")
    return badge(f"until {end}" if end else "does not expire", "ok")


def describe_feed(consumer: Consumer, feed_end: int) -> str:
    if not consumer.feed_cursor:
        return "not used"
    return f"at {consumer.feed_cursor}, the newest gist is at {feed_end}"


def get_facts(consumer: Consumer) -> Facts:
    return [
        ("Feed", describe_feed(consumer, find_newest())),
        ("People visited", str(consumer.visits.count())),
        ("Added", time_in_words(consumer.created_at)),
    ]
