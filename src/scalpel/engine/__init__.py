"""The only place where a model runs. What parts name in `needs` comes out; no caller ever sees logits."""

from scalpel.engine.cost_meter import CostMeter
from scalpel.engine.engine import Engine
from scalpel.engine.sampling_request import Sample, Sampling

__all__ = ["Engine", "CostMeter", "Sample", "Sampling"]
