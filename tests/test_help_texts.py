"""The columns that the admin shows explain themselves."""

import pytest
from django.contrib import admin
from django.contrib.admin.utils import flatten_fieldsets
from django.contrib.auth.models import User
from django.db.models import Field, Model
from django.test import RequestFactory
from rest_framework_api_key.models import AbstractAPIKey

MODELS = [model for model in admin.site._registry if model._meta.app_label in ("people", "sync")]
OF_LIBRARY = {field.name for field in AbstractAPIKey._meta.get_fields()}


def find_shown_columns(model: type[Model]) -> list[Field]:
    """The columns on the list, on the page of a row and on the page that adds one."""
    request = RequestFactory().get("/")
    request.user = User(is_superuser=True)
    page = admin.site._registry[model]
    sets = [*page.get_fieldsets(request), *page.get_fieldsets(request, model())]
    names = {*page.get_list_display(request), *flatten_fieldsets(sets)}
    fields = [field for field in model._meta.get_fields() if isinstance(field, Field) and field.name in names]
    return [field for field in fields if not (issubclass(model, AbstractAPIKey) and field.name in OF_LIBRARY)]


@pytest.mark.parametrize("model", MODELS)
def test_each_column_in_the_admin_has_a_help_text(model: type[Model]) -> None:
    assert [field.name for field in find_shown_columns(model) if not field.help_text] == []


def test_the_columns_of_people_are_found() -> None:
    names = {field.name for model in MODELS for field in find_shown_columns(model)}

    assert {"github_username", "next_push_at", "requested_by"} <= names
