"""What our own tests use, published so that yours can: humds and their programs in memory, on one clock."""

from ensemble.testing.house import House
from ensemble.testing.world import MemoryLink, NeverSettles, World

__all__ = ["House", "MemoryLink", "NeverSettles", "World"]
