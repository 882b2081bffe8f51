import django.db.models.deletion
from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("people", "0003_consumer")]
    operations = [
        migrations.AddField(
            model_name="apikey",
            name="consumer",
            field=models.ForeignKey(
                null=True, on_delete=django.db.models.deletion.CASCADE, related_name="keys", to="people.consumer"
            ),
        )
    ]
