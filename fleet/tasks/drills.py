"""The door through which reports of drills are written; the drive itself takes drills back."""

from celery import shared_task

from fleet.actions.drills import due_reports, write_report
from tenants.base.rows import database_now


@shared_task(name="fleet.tasks.report_drills")
def report_drills() -> None:
    now = database_now()
    for drill_id in due_reports(now):
        write_report(drill_id, now)
