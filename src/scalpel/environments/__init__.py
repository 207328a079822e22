"""What answers a policy: an environment replies to each of its turns until the episode ends."""

from scalpel.environments.environment import Environment, Step, make
from scalpel.environments.episodes import play
from scalpel.registry import gather_parts

__all__ = ["Environment", "Step", "make", "play"]

gather_parts(__name__, __path__)
