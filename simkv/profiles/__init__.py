"""Ready-made device profiles, one JSON file each, with the source of every number."""
