"""Networks of PyTorch layers: their sizes without a framework, and their training, which imports torch."""
