"""The delivery engine under any interleaving of its store calls, against a model. See ``docs/contributing.md``."""
