"""GRPO beside TRL: 4 prompts of GSM8K a step, 8 completions each, all of 64 tokens, no penalty.

The models stop at a token that they never draw, so that both sides sample as much. Takes about 20 minutes on two
cores with SmolLM2-135M.
"""

from bench.common.options import run
from bench.training import bench

if __name__ == "__main__":
    run(lambda: bench("grpo", __doc__, batch=4, group=8))
