"""Direct preference optimisation beside TRL: 8 pairs of HH-RLHF a step, up to 512 tokens a sequence.

Takes about 20 minutes on two cores with SmolLM2-135M.
"""

from bench.common.options import run
from bench.training import bench

if __name__ == "__main__":
    run(lambda: bench("dpo", __doc__, batch=8))
