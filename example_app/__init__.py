"""A small shop in four modules that talk through events: begin at ``composition.py`` or ``orders/routes.py``."""
