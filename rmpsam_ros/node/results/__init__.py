"""Messages out: results, their forms for other packages, and overlays."""
