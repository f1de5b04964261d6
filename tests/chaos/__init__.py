"""Chaos: processes killed, stopped and restarted while events flow; the database alone says what became of them.

``python -m tests.chaos`` runs it (``make chaos``). Every claim has a twin with a planted defect that must turn red.
"""
