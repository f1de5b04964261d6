"""Reports: what has been sold, written up every night."""
