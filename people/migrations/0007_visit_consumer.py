import django.db.models.deletion
from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("people", "0006_create_consumers")]
    operations = [
        migrations.AlterField(
            model_name="visit",
            name="consumer",
            field=models.ForeignKey(
                db_column="consumer",
                db_constraint=False,
                help_text="who has visited",
                on_delete=django.db.models.deletion.CASCADE,
                related_name="visits",
                to="people.consumer",
                to_field="identifier",
            ),
        )
    ]
