from django.apps import AppConfig


class BillingConfig(AppConfig):
    name = "billing"

    def ready(self) -> None:
        from billing.queries import plan_prices  # noqa: PLC0415 (tables are not ready before)

        plan_prices.offer()
