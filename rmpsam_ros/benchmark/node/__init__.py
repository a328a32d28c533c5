"""``rmpsam benchmark --node``: the real node, measured from outside over the real middleware."""
