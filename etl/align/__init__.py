"""Training on sets of the lake: Accelerate-launched jobs that read Delta tables without Spark.

`config` says what a training is, `data` makes torch datasets of a table version, `chat` and `models` know tokenizers
and weights, `losses` are pure functions, `train` is the loop that `accelerate launch` starts, `run` is what the lake
does around it: look up the set, start, resume, and write the row of `models`.
"""

import os

# Threads of OpenMP that wait for each other spin, which on busy cores makes every step many times slower: two threads
# on two cores with other work took 127 s for 15 steps, 5 s when they sleep instead. Read when PyTorch is loaded.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
