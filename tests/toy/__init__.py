"""Toy modules with every kind of node, and a whole core over them."""
