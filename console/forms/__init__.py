"""Forms of the pages. They parse; what is allowed is decided by the actions.

`explain` puts an action's refusal on the form, so that what was typed stays.
"""

from django import forms

from tenants.errors import ConsoleError, Invalid


def explain(form: forms.Form, refusal: ConsoleError) -> None:
    """Show a refusal at its fields, or above them where the form has no such field."""
    if not isinstance(refusal, Invalid) or not refusal.fields:
        form.add_error(None, refusal.message)
        return
    for name, sentence in refusal.fields.items():
        form.add_error(name if name in form.fields else None, sentence)
