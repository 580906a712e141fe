"""
The suite.  Its folders mirror the rooms of ``ensemble``.

Property tests have no deadline and keep no database: how fast or how often this machine ran before decides nothing.
Where ``CI`` is set they take the same examples in every run.

Nor does the umask of whoever runs it: where their group may write, so it could to the folders of the tests, in which no
humd would keep its key.
"""

import os

from hypothesis import HealthCheck, settings

settings.register_profile(
    "ensemble",
    deadline=None,
    database=None,
    derandomize="CI" in os.environ,
    print_blob=True,
    suppress_health_check=[HealthCheck.too_slow],
)
settings.load_profile("ensemble")
os.umask(0o022)
