"""Fulfilment: packs what has been ordered, and hands it over."""
