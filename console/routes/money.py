from django.urls import URLPattern

from console.routes import page
from console.views import billing, economics, exports, prices, requests

urlpatterns: list[URLPattern] = [
    page("requests/", requests.index, "requests"),
    page("requests/<uuid:request_id>/", requests.show, "request"),
    page("billing/", billing.index, "billing"),
    page("billing/<slug:slug>/", billing.show, "tenant_billing"),
    page("billing/<slug:slug>/charges/", billing.charges, "billing_charges"),
    page("billing/<slug:slug>/hours/", billing.hours, "billing_hours"),
    page("quarantine/", economics.quarantine, "quarantine"),
    page("quarantine/<int:row_id>/decide/", economics.decide, "quarantine_decide"),
    page("prices/", prices.index, "prices"),
    page("prices/<slug:slug>/new/", prices.draft, "price_draft"),
    page("prices/<slug:slug>/<int:number>/", prices.version, "price_version"),
    page("prices/<slug:slug>/<int:number>/edit/", prices.edit, "price_edit"),
    page("prices/<slug:slug>/<int:number>/preview/", prices.previewed, "price_preview"),
    page("prices/<slug:slug>/<int:number>/propose/", prices.propose, "price_propose"),
    page("new/contract/", prices.contract, "contract_new"),
    page("exports/", exports.index, "exports"),
    page("new/export-schedule/", exports.schedule, "export_schedule"),
    page("exports/schedules/<int:schedule_id>/switch/", exports.switch, "export_switch"),
    page("exports/<int:job_id>/retry/", exports.retry, "export_retry"),
    page("exports/<int:job_id>/file/", exports.file, "export_file"),
    page("exports/<int:job_id>/manifest/", exports.manifest, "export_manifest"),
    page("economics/", economics.index, "economics"),
    page("economics/shares/", economics.shares, "economics_shares"),
]
