"""Payments: charges customers through a provider that fails now and then."""
