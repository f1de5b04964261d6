"""The long-lived services that carry events from the log to their handlers.

publish → log → **wake → claim → dispatch → handler → settle → retry → dead letter**: a module for each step.
"""
