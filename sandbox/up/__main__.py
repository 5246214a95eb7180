"""python -m sandbox.up: start everything and stay until Ctrl-C. `make up` calls this."""

import os
import signal
import sys

from sandbox.process import die_with_parent
from sandbox.stores.run_as import LaunchError
from sandbox.up.options import UpError, read_options
from sandbox.up.supervisor import Supervisor


def main() -> int:
    if "--end-with-parent" in sys.argv:  # make is our parent: a killed make must not leave us
        die_with_parent(signal.SIGTERM, parent=os.getppid())()
    try:
        return Supervisor(read_options(os.environ), os.environ).run()
    except (UpError, LaunchError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1


if __name__ == "__main__":
    sys.exit(main())
