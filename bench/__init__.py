"""Speed and memory beside a peer, on the same machine, in turns. One file is one bench: `scripts/bench sft`."""
