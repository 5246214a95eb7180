"""Who may see the fleet at all."""

from tenants.errors import NotFound
from tenants.rules.access import Permission, Viewer


def see_fleet(viewer: Viewer) -> None:
    """A tenant's own people get "not found": they cannot tell what exists in the fleet."""
    if not viewer.is_fleet and not viewer.may(Permission.VIEW_FLEET):
        raise NotFound("There is nothing here, or it is not yours to see")
    viewer.require(Permission.VIEW_FLEET)
