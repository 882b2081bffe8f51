"""A consumer for each key, each user with visits, and the requests without a key, under the names of their markers.

Keys with the same name become consumers of their own, because each has its own markers. Can be repeated.
"""

from django.db import migrations

ANONYMOUS = "anonymous"


def create_consumers(apps, schema_editor):
    for key in apps.get_model("people", "ApiKey").objects.filter(consumer=None).order_by("created").iterator():
        _create_for_key(apps, key)
    _create_for_users(apps)
    if apps.get_model("people", "Visit").objects.filter(consumer=ANONYMOUS).exists():
        _get_or_create(apps, ANONYMOUS, ANONYMOUS)


def _create_for_key(apps, key):
    consumers = apps.get_model("people", "Consumer").objects
    # The database compares the names, because its collation decides which of them are equal.
    is_taken = key.name.lower() == ANONYMOUS or consumers.filter(name=key.name).exists()
    name = f"{key.name} (key {key.prefix})" if is_taken else key.name
    key.consumer = _get_or_create(apps, f"key:{key.prefix}", name)
    key.save(update_fields=["consumer"])


def _create_for_users(apps):
    identifiers = apps.get_model("people", "Visit").objects.filter(consumer__startswith="user:")
    users = apps.get_model("auth", "User").objects
    for identifier in identifiers.order_by().values_list("consumer", flat=True).distinct():
        number = identifier.removeprefix("user:")
        user = users.filter(pk=int(number)).first() if number.isascii() and number.isdigit() else None
        if user:
            _get_or_create(apps, identifier, f"{user.username} (staff {user.pk})", user=user)


def _get_or_create(apps, identifier, name, **columns):
    consumers = apps.get_model("people", "Consumer").objects
    return consumers.get_or_create(identifier=identifier, defaults={"name": name, **columns})[0]


class Migration(migrations.Migration):
    atomic = False
    dependencies = [("people", "0005_apikey_read_only"), ("auth", "0012_alter_user_first_name_max_length")]
    operations = [migrations.RunPython(create_consumers, migrations.RunPython.noop)]
