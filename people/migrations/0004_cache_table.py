from django.apps.registry import Apps
from django.core.management import call_command
from django.db import migrations
from django.db.backends.base.schema import BaseDatabaseSchemaEditor


def make_cache_table(apps: Apps, schema_editor: BaseDatabaseSchemaEditor) -> None:
    """Where requests are counted, so that the limits hold over all processes."""
    call_command("createcachetable", database=schema_editor.connection.alias, verbosity=0)


class Migration(migrations.Migration):
    dependencies = [("people", "0003_keys")]

    operations = [migrations.RunPython(make_cache_table, migrations.RunPython.noop)]
