"""What leaves and comes in apart from a pull: files that are carried by hand. Knows no YANG and no engine."""
