"""The import of a CSV: upload, then a preview that writes nothing, then the confirmation.

The rows travel from the preview to the confirmation in the page, signed for the user, so that what was shown is what is
created, without a second upload and without megabytes in the session.
"""

from typing import Any

from django.contrib import messages
from django.contrib.admin.models import ADDITION
from django.core import signing
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.urls import reverse

from people import bulk
from people.admin.actions import in_number, log_rows
from people.admin.forms import ImportForm
from people.bulk import BulkReport, RowOutcome, RowResult
from people.models import Person
from people.models.github_names import login_key

MAX_AGE_SECONDS = 3600  # of a preview
MAX_SHOWN = 200  # rows of each kind in a preview
LOG_BATCH_SIZE = 500
HISTORY = "Added by a CSV import."


def import_people(model_admin: Any, request: HttpRequest) -> HttpResponse:
    if not model_admin.has_add_permission(request):
        raise PermissionDenied
    if "rows" in request.POST:
        return _confirm(model_admin, request)
    form = ImportForm(request.POST, request.FILES) if request.method == "POST" else ImportForm()
    if form.is_valid():
        try:
            rows = bulk.read_csv(form.cleaned_data["file"].read())
            if not rows:
                raise ValueError("The CSV has no rows after its first line.")
            return _render_preview(model_admin, request, rows)
        except ValueError as error:
            form.add_error("file", str(error))
    return _render(model_admin, request, {"form": form})


def _render_preview(model_admin: Any, request: HttpRequest, rows: list[Any]) -> HttpResponse:
    report = bulk.preview(rows)
    new = [row for row, result in zip(rows, report.results, strict=True) if result.result == RowOutcome.CREATED]
    context = {
        "report": report,
        "groups": [_group(report, *names) for names in GROUPS],
        "rows": signing.dumps(new, salt=_get_salt(request), compress=True),
    }
    return _render(model_admin, request, context)


GROUPS = (
    (RowOutcome.REJECTED, "Rejected: these rows are not imported"),
    (RowOutcome.ALREADY_TRACKED, "Already tracked: nothing changes"),
    (RowOutcome.CREATED, "New: these people are going to be tracked"),
)


def _group(report: BulkReport, outcome: RowOutcome, title: str) -> dict[str, Any]:
    results: list[RowResult] = [result for result in report.results if result.result == outcome]
    return {"title": title, "results": results[:MAX_SHOWN], "more": max(len(results) - MAX_SHOWN, 0)}


def _confirm(model_admin: Any, request: HttpRequest) -> HttpResponse:
    try:
        rows = signing.loads(request.POST["rows"], salt=_get_salt(request), max_age=MAX_AGE_SECONDS)
    except signing.BadSignature:  # also SignatureExpired
        model_admin.message_user(request, "The preview has expired. Upload the file again.", messages.ERROR)
        return HttpResponseRedirect(request.path)
    report = bulk.track(rows)
    _log(request, report)
    level = messages.SUCCESS if report.created else messages.WARNING
    model_admin.message_user(request, _format(report), level)
    return HttpResponseRedirect(reverse("admin:people_person_changelist"))


def _log(request: HttpRequest, report: BulkReport) -> None:
    keys = [login_key(result.username) for result in report.results if result.result == RowOutcome.CREATED]
    for start in range(0, len(keys), LOG_BATCH_SIZE):
        people = list(Person.objects.filter(username_key__in=keys[start : start + LOG_BATCH_SIZE]))
        log_rows(request, people, ADDITION, HISTORY)


def _format(report: BulkReport) -> str:
    created = in_number(("%d person is tracked now.", "%d people are tracked now."), report.created)
    if not report.already_tracked:
        return created
    words = ("%d person was tracked already.", "%d people were tracked already.")
    return f"{created} {in_number(words, report.already_tracked)}"


def _render(model_admin: Any, request: HttpRequest, context: dict[str, Any]) -> HttpResponse:
    page = {**model_admin.get_frame(request, "Import people"), **context}
    return TemplateResponse(request, "admin/people/person/import.html", page)


def _get_salt(request: HttpRequest) -> str:
    return f"people.admin.csv_import:{request.user.pk}"
