"""Training of the prior over codes."""
