"""
The suite.  Its folders mirror the rooms of C{ensemble}.

Property tests have no deadline and keep no database: how fast or how often this machine ran before decides nothing.
Where C{CI} is set they take the same examples in every run.
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
