"""The workloads of the real cluster; each write is told before it is made."""

from fleet.drive.outside import REAL, Outside


def nothing(_):
    pass


class Told:
    def __init__(self, real, tell, deleted):
        self.real, self.tell, self.deleted = real, tell, deleted

    def __getattr__(self, name):
        return getattr(self.real, name)

    def apply(self, manifest, **more):
        if not more.get("dry_run"):
            replicas = manifest["spec"].get("replicas", "")
            self.tell(f"{manifest['kind']} {manifest['metadata']['name']} {replicas}")
        return self.real.apply(manifest, **more)

    def delete(self, kind, name, uid):
        self.deleted(name)
        self.real.delete(kind, name, uid)


def through(tell, deleted=nothing):
    return Outside(lambda cluster: Told(REAL.connect(cluster), tell, deleted), REAL.ask)
