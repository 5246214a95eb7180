"""Models in a registry, as the CNCF's model format keeps them: one layer a file, by its path."""

from collections.abc import Mapping

from fleet.clients.errors import Permanent
from fleet.clients.model_hub import LONGEST, Revision
from fleet.clients.registry import Registry, rows_of
from fleet.rules.artifacts import READ
from fleet.rules.model_signature import FILE, SignedFiles
from fleet.rules.reference import ImageReference

PATH = "org.cncf.model.filepath"
LICENCE = "org.opencontainers.image.licenses"


class OciModels:
    def __init__(self, registry: Registry) -> None:
        self.registry = registry

    def resolve(self, wanted: ImageReference) -> Revision:
        """Its commit is the digest of the artifact, which covers every file."""
        found = self.registry.resolve(wanted)
        files, weights = {}, 0
        for layer in rows_of(found.document, "layers"):
            said = layer.get("annotations")
            path = said.get(PATH) if isinstance(said, dict) else ""
            if not path:
                continue
            files[str(path)] = str(layer.get("digest") or "")
            size = layer.get("size")
            if str(path).endswith(".safetensors") and isinstance(size, int):
                weights += size
        if not files:
            raise Permanent(
                f"{wanted.repository}:{wanted.wanted} is no model: none of its layers names a file"
                f" ({PATH})"
            )
        annotations = found.document.get("annotations")
        licence = annotations.get(LICENCE) if isinstance(annotations, dict) else ""
        answer = {"url": found.answer["url"], "files": len(files)}
        return Revision(found.digest, str(licence or "")[:64], weights, files, answer)

    def contents(self, path: str, files: Mapping[str, str]) -> dict[str, bytes]:
        """The small files that say what the model is made of."""
        bodies = {n: self.registry.blob(path, files[n], LONGEST) for n in READ if n in files}
        return {name: body for name, body in bodies.items() if body is not None}

    def signed(self, path: str, files: Mapping[str, str]) -> SignedFiles | None:
        """A signature that lies beside the weights; the registry tells the digests of all."""
        body = self.registry.blob(path, files[FILE], LONGEST) if FILE in files else None
        if body is None:
            return None
        return SignedFiles(body, {p: d.removeprefix("sha256:") for p, d in files.items()})
