"""One config system for all programs: files, overrides and errors, and a module for each sort of config.

`load_config` reads a training run, whose sort follows from its keys; `varpro.config.fit` holds the configs of fits.
Kinds (networks, ready models) are looked up in registries, so that no list of their names stands here.
"""
