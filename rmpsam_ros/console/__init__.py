"""A page for the browser: see what the node sees, click, follow, correct, tune.

The server is a process of its own with a ROS node of its own; it takes only what one perception
node publishes and offers, and only while somebody looks. `server` and `session` speak HTTP and
WebSocket, `security` decides who may, ``ros/`` talks to the perception node, ``page/`` is what the
browser loads. Imports nothing of the network: no PyTorch here.
"""
