"""What users declare and what the engine passes around: pure values, no database and no web framework."""
