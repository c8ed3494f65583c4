"""The command line, the recipes, the configuration."""
