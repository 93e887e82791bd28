"""Models of a site, given to the agent as files."""
