"""The products measured beside ours, each at the best settings its own documentation gives."""
