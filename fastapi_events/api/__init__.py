"""What users of the library touch: publishing, operating, observing, routes and dependencies."""
