"""REST API of `billing`, below /api/v1/."""

from django.urls import URLPattern, URLResolver, path

from billing.api import charges, costs, exports, prices, usage

urlpatterns: list[URLPattern | URLResolver] = [
    path("usage", usage.UsageView.as_view()),
    path("usage/events", usage.UsageEventsView.as_view()),
    path("usage/events/<str:request_id>", usage.UsageEventView.as_view()),
    path("usage/confidence", usage.ConfidenceView.as_view()),
    path("usage/quarantine", usage.QuarantineView.as_view()),
    path("usage/quarantine/<int:row_id>/take", usage.TakeView.as_view()),
    path("usage/quarantine/<int:row_id>/drop", usage.DropView.as_view()),
    path("usage/unpriced", charges.UnpricedView.as_view()),
    path("charges", charges.ChargesView.as_view()),
    path("rating-runs", charges.RatingRunsView.as_view()),
    path("tenants/<slug:slug>/billing", charges.SummaryView.as_view()),
    path("costs/allocations", costs.AllocationsView.as_view()),
    path("costs/economics", costs.EconomicsView.as_view()),
    path("costs/gpu-prices", prices.GpuPricesView.as_view()),
    path("price-books", prices.BooksView.as_view()),
    path("price-books/<slug:slug>", prices.BookView.as_view()),
    path("price-books/<slug:slug>/versions", prices.VersionsView.as_view()),
    path("price-books/<slug:slug>/versions/<int:number>", prices.VersionView.as_view()),
    path("price-books/<slug:slug>/versions/<int:number>/propose", prices.ProposeView.as_view()),
    path("price-books/<slug:slug>/versions/<int:number>/preview", prices.PreviewView.as_view()),
    path(
        "price-books/<slug:slug>/versions/<int:number>/differences-to/<int:other>",
        prices.DifferencesView.as_view(),
    ),
    path("contracts", prices.ContractsView.as_view()),
    path("exports", exports.ExportsView.as_view()),
    path("exports/<int:export_id>", exports.ExportView.as_view()),
    path("exports/<int:export_id>/download", exports.DownloadView.as_view()),
    path("export-schedules", exports.SchedulesView.as_view()),
    path("export-schedules/<int:schedule_id>", exports.ScheduleView.as_view()),
]
