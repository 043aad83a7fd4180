"""Random fits of separable models, judged against SciPy: what `bench/campaign.py` runs."""
