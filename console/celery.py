"""The worker's door and the metronome. Due work is found in tables, never in the schedule."""

import os

from celery import Celery

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "console.settings")

app = Celery("quartermaster")
app.config_from_object("django.conf:settings", namespace="CELERY")
app.autodiscover_tasks(["tenants", "fleet", "billing"])

# Two metronomes do no harm: every task claims its rows.
app.conf.beat_schedule = {
    "sweep rollouts": {"task": "fleet.tasks.sweep_rollouts", "schedule": 5.0},
    "sweep sequences": {"task": "fleet.tasks.sweep_sequences", "schedule": 5.0},
    "report drills": {"task": "fleet.tasks.report_drills", "schedule": 15.0},
    "sweep pod losses": {"task": "fleet.tasks.sweep_pod_losses", "schedule": 5.0},
    "sweep scaling": {"task": "fleet.tasks.sweep_scaling", "schedule": 5.0},
    "publish routing": {"task": "fleet.tasks.publish_routing", "schedule": 5.0},
    "publish policy": {"task": "tenants.tasks.publish_policy", "schedule": 5.0},
    "expire changes": {"task": "tenants.tasks.expire_changes", "schedule": 30.0},
    "find degradation": {"task": "fleet.tasks.find_degradation", "schedule": 30.0},
    "trim observations": {"task": "fleet.tasks.trim_observations", "schedule": 600.0},
    "roll up usage": {"task": "billing.tasks.roll_up", "schedule": 5.0},
    "keep budgets": {"task": "billing.tasks.keep_budgets", "schedule": 5.0},
    "rate usage": {"task": "billing.tasks.rate", "schedule": 15.0},
    "publish prices": {"task": "billing.tasks.publish_prices", "schedule": 15.0},
    "preview prices": {"task": "billing.tasks.preview_prices", "schedule": 15.0},
    "allocate cost": {"task": "billing.tasks.allocate", "schedule": 60.0},
    "forget gpu intervals": {
        "task": "billing.tasks.forget_gpu_intervals",
        "schedule": 600.0,
    },
    "make event parts": {"task": "billing.tasks.make_event_parts", "schedule": 60.0},
    "drop event parts": {"task": "billing.tasks.drop_event_parts", "schedule": 600.0},
    "forget seen ids": {"task": "billing.tasks.forget_seen", "schedule": 21_600.0},
    "weigh tokens": {"task": "billing.tasks.weigh_tokens", "schedule": 600.0},
    "keep periods": {"task": "billing.tasks.keep_periods", "schedule": 15.0},
    "call people": {"task": "billing.tasks.call_people", "schedule": 5.0},
    "deliver events": {"task": "billing.tasks.deliver_events", "schedule": 5.0},
    "keep engine hours": {"task": "billing.tasks.keep_engine_hours", "schedule": 300.0},
    "decide quarantine": {"task": "billing.tasks.decide_quarantine", "schedule": 15.0},
    "keep gateway hours": {"task": "billing.tasks.keep_gateway_hours", "schedule": 5.0},
    "fold arrivals": {"task": "billing.tasks.fold_arrivals", "schedule": 30.0},
    "find anomalies": {"task": "billing.tasks.find_anomalies", "schedule": 600.0},
    "warn of ends": {"task": "billing.tasks.warn_of_ends", "schedule": 600.0},
    "keep credits": {"task": "billing.tasks.keep_credits", "schedule": 15.0},
    "run exports": {"task": "billing.tasks.run_exports", "schedule": 15.0},
    "reconcile books": {"task": "billing.tasks.reconcile", "schedule": 600.0},
    "deliver exports": {"task": "billing.tasks.deliver_exports", "schedule": 15.0},
}
