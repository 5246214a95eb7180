"""Whose signatures of images and of models count: that part of the settings."""

from datetime import date
from pathlib import Path

from pydantic import ValidationInfo, field_validator
from pydantic_settings import BaseSettings

from console.given import policies, public_keys, signers, trust_root
from fleet.rules.signature import until_of


class Trust(BaseSettings):
    """Images and models are apart: who builds engines need not be who trains models."""

    qm_signatures: str = "off"  # off, warn, enforce; then cluster=policy, separated by commas
    qm_signature_keys: Path | None = None  # a folder of public keys, NAME.pub in PEM
    qm_signers: Path | None = None  # JSON, who may sign without a key of ours
    qm_model_signatures: str = "off"  # the same for models
    qm_model_signature_keys: Path | None = None
    qm_model_signers: Path | None = None
    qm_sigstore_root: Path | None = None  # trusted_root.json, for keyless signatures of both

    @field_validator("qm_signatures", "qm_model_signatures")
    @classmethod
    def has_policies(cls, value: str) -> str:
        policies(value)
        return value

    @field_validator("qm_signature_keys", "qm_model_signature_keys")
    @classmethod
    def has_keys(cls, value: Path | None) -> Path | None:
        for name, pem in public_keys(value).items():
            lasts(name, pem)
        return value

    @field_validator("qm_sigstore_root")
    @classmethod
    def has_trust(cls, value: Path | None) -> Path | None:
        return trust_root(value)

    @field_validator("qm_signers", "qm_model_signers")
    @classmethod
    def has_signers(cls, value: Path | None, info: ValidationInfo) -> Path | None:
        signers(value)
        return value


def lasts(name: str, pem: str) -> date | None:
    """The last day of a key. Raise ValueError where it says one that there is not."""
    try:
        return until_of(pem)
    except ValueError as error:
        raise ValueError(f"{name}.pub: {error}") from error
