"""What a release pins beside model, image and arguments, as the API gives and takes it."""

from typing import Any

from rest_framework import serializers

from fleet.rules.pins import LARGEST
from tenants.api.base.serializers import Strict, TextField

OBJECT = "Digest of its content by name; the object is called NAME-<first 10 digits>"

FILES = "Text by file by name: ConfigMaps that the console makes with the release. No secrets"


class Content(serializers.CharField):
    """A file as it is, its last line break too."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(trim_whitespace=False, max_length=LARGEST, **kwargs)


class AdapterOut(serializers.Serializer[Any]):
    name = serializers.CharField()
    path = serializers.CharField()
    digest = serializers.CharField()


class PinsOut(serializers.Serializer[Any]):
    configs = serializers.DictField(child=serializers.CharField(), help_text=OBJECT)
    secrets = serializers.DictField(child=serializers.CharField(), help_text=OBJECT)
    files = serializers.DictField(
        child=serializers.DictField(child=serializers.CharField()), help_text=FILES
    )
    adapters = AdapterOut(many=True)
    regions = serializers.ListField(child=serializers.CharField(), help_text="None: anywhere")
    confidential = serializers.BooleanField(help_text="Only on confidential GPUs")


class AdapterIn(Strict):
    name = TextField(max_length=96, help_text="Under which the engine serves it")
    path = TextField(max_length=300, help_text="In the image or a volume")
    digest = TextField(max_length=71, help_text="sha256: of what lies there")


class PinsIn(Strict):
    configs = serializers.DictField(
        required=False, child=TextField(max_length=71), help_text=OBJECT
    )
    secrets = serializers.DictField(
        required=False, child=TextField(max_length=71), help_text=OBJECT
    )
    files = serializers.DictField(
        required=False,
        child=serializers.DictField(child=Content(allow_blank=True)),
        help_text=FILES,
    )
    adapters = AdapterIn(many=True, required=False, max_length=64)  # type: ignore[call-arg]  # of the list
    regions = serializers.ListField(required=False, child=TextField(max_length=63), max_length=64)
    confidential = serializers.BooleanField(required=False)
