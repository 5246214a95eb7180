"""How long what is stored stays, and where it goes: that part of the settings."""

from pathlib import Path

from pydantic import Field, field_validator
from pydantic_settings import BaseSettings


class Kept(BaseSettings):
    """What has no name here stays for a fixed time, or for ever: docs/operators/storage.md."""

    qm_gpu_interval_days: int = Field(90, ge=63)  # from their end; longer while books are open
    qm_usage_months: int = Field(0, ge=0)  # requests are kept; 0: for ever
    qm_usage_archive: Path | None = None  # a folder that requests are written to before they go

    @field_validator("qm_usage_months")
    @classmethod
    def is_late_enough(cls, value: int) -> int:
        if 0 < value < 3:
            raise ValueError("give 3 months or more, as usage may come 62 days late; 0: for ever")
        return value

    @field_validator("qm_usage_archive", mode="before")
    @classmethod
    def is_named(cls, value: str | Path | None) -> str | Path | None:
        """An empty one would be the folder that the process began in."""
        return value or None

    @field_validator("qm_usage_archive")
    @classmethod
    def is_whole(cls, value: Path | None) -> Path | None:
        if value is not None and not value.is_absolute():
            raise ValueError("give the whole path of the folder: it is the same for every worker")
        return value
