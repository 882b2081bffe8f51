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
from rest_framework.test import APIClient

from people.keys import create_key as create_api_key
from people.management.commands import prune
from people.models import ApiKey, Person, RequestCount, Visit
from tests.factories import create_person

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


def test_visits_of_keys_that_an_older_release_deleted_are_deleted_and_those_of_revoked_keys_stay() -> None:
    person, user = create_person("ada"), User.objects.create_user("staff")
    for name in ("kept", "revoked", "deleted"):
        ApiKey.objects.create_key(name=name)  # as a release without consumers does
    ApiKey.objects.filter(name="revoked").update(revoked=True)
    for key in ApiKey.objects.all():
        Visit.objects.create(person=person, consumer_id=f"key:{key.prefix}")
    for consumer in ("anonymous", f"user:{user.pk}", "user:999"):
        Visit.objects.create(person=person, consumer_id=consumer)
    ApiKey.objects.filter(name="deleted").delete()

    call_command("prune")

    kept = {f"key:{prefix}" for prefix in ApiKey.objects.values_list("prefix", flat=True)}
    assert set(Visit.objects.values_list("consumer_id", flat=True)) == kept | {"anonymous", f"user:{user.pk}"}


def test_a_consumer_that_is_added_during_the_deletion_keeps_its_markers() -> None:
    rows = dict(prune.find_old_rows())["visits of deleted consumers"]
    consumer = create_api_key("new").consumer
    Visit.objects.create(person=create_person(), consumer=consumer)

    assert prune.delete(rows) == 0
    assert Visit.objects.exists()


def test_old_request_counts_are_deleted_and_the_current_ones_count_on(api: APIClient) -> None:
    RequestCount.objects.create(client="address:10.0.0.1", minute=1)
    RequestCount.hit("key:a")

    call_command("prune")

    assert list(RequestCount.objects.values_list("client", flat=True)) == ["key:a"]


def test_many_rows_are_deleted_in_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(prune, "BATCH_SIZE", 3)
    RequestCount.objects.bulk_create([RequestCount(client=f"{number}", minute=1) for number in range(10)])

    call_command("prune")

    assert not RequestCount.objects.exists()
