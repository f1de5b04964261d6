"""The rooms of the dashboard."""
