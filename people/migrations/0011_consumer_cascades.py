"""Deleting a user deletes the user's consumer, also by a release that does not know consumers (MySQL).

SQLite is not used by several releases at once, and would need the table to be copied.
"""

from django.db import migrations


def cascade(apps, schema_editor):
    """The foreign key is replaced in one statement, so this can be repeated after it was killed."""
    if schema_editor.connection.vendor != "mysql":
        return
    with schema_editor.connection.cursor() as cursor:
        cursor.execute(
            "SELECT constraint_name FROM information_schema.referential_constraints WHERE constraint_schema = "
            "DATABASE() AND table_name = 'people_consumer' AND delete_rule <> 'CASCADE'"
        )
        names = [row[0] for row in cursor.fetchall()]
    for name in names:
        schema_editor.execute(
            f"ALTER TABLE people_consumer DROP FOREIGN KEY {name}, ADD CONSTRAINT {name}_cascade "
            "FOREIGN KEY (user_id) REFERENCES auth_user (id) ON DELETE CASCADE"
        )


class Migration(migrations.Migration):
    atomic = False
    dependencies = [("people", "0010_number_gists")]
    operations = [migrations.RunPython(cascade, migrations.RunPython.noop)]
