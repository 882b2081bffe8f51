"""The admin's log of earlier releases names keys by their primary key, which has the hash after the prefix.

Can be repeated.
"""

from django.db import migrations
from django.db.models import Value
from django.db.models.functions import StrIndex, Substr


def remove_hashes(apps, schema_editor):
    types = apps.get_model("contenttypes", "ContentType").objects.filter(app_label="people", model="apikey")
    entries = apps.get_model("admin", "LogEntry").objects.filter(content_type__in=list(types))
    entries.filter(object_id__contains=".").update(
        object_id=Substr("object_id", 1, StrIndex("object_id", Value(".")) - 1)
    )


class Migration(migrations.Migration):
    dependencies = [
        ("people", "0012_index_people"),
        ("admin", "0003_logentry_add_action_flag_choices"),
        ("contenttypes", "0002_remove_content_type_name"),
    ]
    operations = [migrations.RunPython(remove_hashes, migrations.RunPython.noop)]
