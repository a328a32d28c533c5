"""The threads of the node and what lies between them."""
