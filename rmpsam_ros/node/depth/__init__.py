"""Everything of the node that needs depth: positions, markers, the labelled cloud."""
