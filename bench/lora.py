"""LoRA (rank 8, all matrices) beside TRL + PEFT: 16 problems of GSM8K a step, frozen weights in bfloat16 on both sides.

Takes about 10 minutes on two cores with SmolLM2-135M.
"""

from bench.common.options import run
from bench.training import bench

if __name__ == "__main__":
    run(lambda: bench("lora", __doc__, batch=16, dtype="bfloat16"))
