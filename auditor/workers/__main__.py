"""A worker as a process of its own, as the environment says: python -m auditor.workers [OWNER]"""

import sys

from auditor.settings import Settings
from auditor.workers.worker import main

if __name__ == "__main__":
    main(Settings.read(), owner=sys.argv[1] if len(sys.argv) > 1 else None)
