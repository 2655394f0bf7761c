"""What hardware can be synthesized for: one file a target, and their registry."""
