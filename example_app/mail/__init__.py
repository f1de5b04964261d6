"""Mail: tells customers what has become of their orders."""
