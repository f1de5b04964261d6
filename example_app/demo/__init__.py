"""The shop in full swing: a web app, a worker, customers, and a verdict at the end. ``python -m example_app.demo``."""
