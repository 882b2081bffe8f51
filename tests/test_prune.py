"""What is deleted once a day, and what stays."""

from datetime import timedelta

import pytest
from axes.models import AccessAttempt, AccessFailureLog, AccessLog
from django.contrib.admin.models import CHANGE, LogEntry
from django.contrib.auth.models import User
from django.contrib.contenttypes.models import ContentType
from django.contrib.sessions.models import Session
from django.core.management import call_command
from django.utils import timezone

from people.management.commands import prune
from people.models import Person

pytestmark = [pytest.mark.django_db, pytest.mark.both]


def test_expired_sessions_and_old_logs_are_deleted(capsys: pytest.CaptureFixture[str]) -> None:
    now, user = timezone.now(), User.objects.create_user("admin")
    for number, age in enumerate((timedelta(hours=-1), timedelta(days=89), timedelta(days=91), timedelta(days=366))):
        Session.objects.create(session_key=f"{number}", expire_date=now - age)
        login = {"username": f"{number}", "ip_address": f"10.0.0.{number}", "user_agent": "", "path_info": "/admin"}
        AccessAttempt.objects.create(**login, failures_since_start=1)
        AccessLog.objects.create(**login)
        AccessFailureLog.objects.create(**login)
        content_type = ContentType.objects.get_for_model(Person)
        LogEntry.objects.create(user=user, content_type=content_type, object_repr="", action_flag=CHANGE)
        for model in (AccessAttempt, AccessLog, AccessFailureLog):
            model.objects.filter(username=f"{number}").update(attempt_time=now - age)
        LogEntry.objects.filter(pk=LogEntry.objects.latest("pk").pk).update(action_time=now - age)

    call_command("prune")

    assert list(Session.objects.values_list("session_key", flat=True)) == ["0"]
    for model in (AccessAttempt, AccessLog, AccessFailureLog):
        assert sorted(model.objects.values_list("username", flat=True)) == ["0", "1"]
    assert LogEntry.objects.count() == 3
    assert "sessions: 3 deleted" in capsys.readouterr().out


def test_many_rows_are_deleted_in_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(prune, "BATCH_SIZE", 3)
    past = timezone.now() - timedelta(days=1)
    Session.objects.bulk_create([Session(session_key=f"{number}", expire_date=past) for number in range(10)])

    call_command("prune")

    assert not Session.objects.exists()
