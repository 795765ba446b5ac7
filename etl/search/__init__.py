"""Mixture search: which share of the training tokens each domain should have.

Both ways learn it from models far smaller than the one that is wanted. `dro` holds the step of DoReMi (Xie et al.
2023), which moves shares while one model trains, `regmix` the regression of RegMix (Liu et al. 2024) over many models
of random shares. `train` is the loop that Accelerate starts, for one list of models at a time; `compare` sets a found
mixture beside others at equal compute, on text that no search has seen. `run` puts these in order and writes the
report and the mixtures; only `corpus` and what calls it need Spark.
"""
