"""A field for a file of text."""

from typing import Any

from django import forms


class TextFileField(forms.FileField):
    """Its value is the text."""

    def __init__(self, largest: int, **options: Any) -> None:
        super().__init__(**options)
        self.largest = largest

    def clean(self, data: Any, initial: Any = None) -> str:
        given = super().clean(data, initial)  # an uploaded file
        if given.size > self.largest:
            sizes = f"{given.size:,} bytes; {self.largest:,} are the most"
            raise forms.ValidationError(f"The file has {sizes}: import it in parts")
        try:
            text: str = given.read().decode("utf-8-sig")
        except UnicodeDecodeError as error:
            raise forms.ValidationError("The file is no text in UTF-8") from error
        return text
