"""The hash of a key is in no address of the admin, and in no entry of its log."""

import importlib

import pytest
from django.apps import apps
from django.contrib.admin.models import CHANGE, LogEntry
from django.contrib.auth.models import User
from django.contrib.contenttypes.models import ContentType
from django.db.models import Model
from django.test import Client

from people.models import ApiKey, Consumer
from tests.factories import create_key

pytestmark = pytest.mark.django_db
migration = importlib.import_module("people.migrations.0013_remove_key_hashes_from_log")


def test_the_log_of_earlier_releases_loses_the_hashes() -> None:
    create_key("team")
    key, user = ApiKey.objects.get(), User.objects.create_superuser("root")
    keys, consumers = (ContentType.objects.get_for_model(model) for model in (ApiKey, Consumer))
    for content_type, object_id in ((keys, key.pk), (keys, None), (consumers, "1.5")):
        LogEntry.objects.create(user=user, content_type=content_type, object_id=object_id, action_flag=CHANGE)

    migration.remove_hashes(apps, None)
    migration.remove_hashes(apps, None)

    assert list(LogEntry.objects.order_by("pk").values_list("object_id", flat=True)) == [key.prefix, None, "1.5"]


def test_no_page_of_the_admin_has_the_hash_of_a_key(admin_client: Client) -> None:
    create_key("team")
    key = ApiKey.objects.get()

    for page in ("", "people/consumer/", f"people/consumer/{key.consumer_id}/change/", "people/"):
        content = admin_client.get(f"/admin/{page}").content.decode()
        assert key.hashed_key not in content
        assert key.pk.partition(".")[2][:20] not in content
    assert not any("apikey" in str(model._meta.model_name) for model in admin_site_models())


def admin_site_models() -> list[type[Model]]:
    from django.contrib import admin

    return list(admin.site._registry)
