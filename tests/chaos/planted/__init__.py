"""Planted bugs: the harness is tested by what it must find. One patch a bug; catalogue.toml."""
