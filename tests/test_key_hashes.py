"""The hash of a key is in no page of the admin."""

import pytest
from django.db.models import Model
from django.test import Client

from people.models import ApiKey
from tests.factories import create_key

pytestmark = [pytest.mark.django_db, pytest.mark.both]


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
