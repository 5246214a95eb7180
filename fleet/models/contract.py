from django.conf import settings
from django.db import models

from fleet.models.rollout import Rollout
from fleet.models.service import Service


class OutputContract(models.Model):
    """One version of the prompts that releases of a service must answer as recorded. Append-only:
    a change is a new version, and no prompts at all lift it.
    """

    service = models.ForeignKey(Service, models.PROTECT, related_name="contracts")
    version = models.PositiveIntegerField()
    prompts = models.JSONField()  # fleet.rules.contract.prompts
    why = models.TextField()
    kept_by = models.ForeignKey(settings.AUTH_USER_MODEL, models.PROTECT, null=True)
    at = models.DateTimeField(auto_now_add=True)

    class Meta:
        db_table = "output_contract"
        constraints = [
            models.UniqueConstraint(fields=["service", "version"], name="output_contract_version")
        ]

    def __str__(self) -> str:
        return f"output contract v{self.version}"


class ContractResult(models.Model):
    """How a rollout's canary answered the prompts of its contract. Append-only."""

    rollout = models.ForeignKey(Rollout, models.PROTECT, related_name="contract_results")
    contract = models.ForeignKey(OutputContract, models.PROTECT, related_name="results")
    at = models.DateTimeField(auto_now_add=True)
    verdict = models.CharField(max_length=12)  # pass, fail, error
    why = models.TextField()
    answers = models.JSONField()  # fleet.rules.contract.answers.Sample, one each

    class Meta:
        db_table = "contract_result"
        indexes = [models.Index(fields=["rollout", "id"], name="contract_result_order")]

    def __str__(self) -> str:
        return f"{self.rollout_id} {self.contract}: {self.verdict}"
