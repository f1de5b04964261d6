"""Orders: taken by the API, confirmed or rejected by what the other modules report."""
