"""What people look at: images made visible, charts, and the report."""
