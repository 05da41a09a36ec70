"""What developers run by hand: stub generation, tables for the docs."""
