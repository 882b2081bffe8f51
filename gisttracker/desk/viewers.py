"""The group `viewer`: its staff see the lists of people and runs in the admin, and can change nothing."""

from typing import Any

from django.apps import AppConfig
from django.apps.registry import Apps
from django.apps.registry import apps as current_apps
from django.db import DEFAULT_DB_ALIAS

GROUP = "viewer"


def grant_view_permissions(
    app_config: AppConfig, apps: Apps = current_apps, using: str = DEFAULT_DB_ALIAS, **kwargs: Any
) -> None:
    """Create the group, and add the permissions to view the app's models that it lacks. Receiver of `post_migrate`.

    After each migrate, so that it includes models of later releases. Other permissions of the group stay.
    """
    try:
        group_model, permission_model = apps.get_model("auth", "Group"), apps.get_model("auth", "Permission")
    except LookupError:  # `migrate auth zero` has removed the tables.
        return
    permissions = permission_model.objects.using(using).filter(
        content_type__app_label=app_config.label, codename__startswith="view_"
    )
    group, _ = group_model.objects.using(using).get_or_create(name=GROUP)
    group.permissions.add(*permissions)
