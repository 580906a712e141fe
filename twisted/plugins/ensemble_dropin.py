"""What ``twistd`` shows of us.  Nothing heavy is imported here: every ``twistd`` on this machine reads this file."""

from twisted.application.service import ServiceMaker

humd = ServiceMaker(
    "ensemble humd",
    "ensemble.daemon.tap",
    "Link this machine to other humds, and serve the local programs that join in.",
    "humd",
)
