"""Supervised fine-tuning beside TRL: 16 problems of GSM8K a step, loss on the answers only.

Takes about 15 minutes on two cores with SmolLM2-135M.
"""

from bench.common.options import run
from bench.training import bench

if __name__ == "__main__":
    run(lambda: bench("sft", __doc__, batch=16))
