from django.db import migrations

from tenants.base.rls import AppendOnly, CompositeKey, EnableRLS


class Migration(migrations.Migration):
    dependencies = [("tenants", "0001_initial")]

    operations = [
        EnableRLS("tenant", "id"),
        EnableRLS("application"),
        EnableRLS("api_key"),
        EnableRLS("model_grant"),
        EnableRLS("quota"),
        EnableRLS("role_binding"),
        EnableRLS("audit_event"),
        AppendOnly("audit_event"),
        CompositeKey("api_key", "application_id", "application"),
        CompositeKey("quota", "application_id", "application"),
    ]
