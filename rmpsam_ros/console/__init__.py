"""A page for the browser: see what the node sees, click, follow, correct, tune.

The server is a process of its own with a ROS node of its own; it takes only what one perception
node publishes and offers, and only while somebody looks. `server` and `session` speak HTTP and
WebSocket, `security` decides who may, ``ros/`` talks to the perception node, ``page/`` is what the
browser loads. Imports nothing of the network: no PyTorch here.

Examples:
    >>> from rmpsam_ros.console.security import Gate
    >>> from rmpsam_ros.console.settings import CONSOLE_PARAMETERS, Settings
    >>> groups = CONSOLE_PARAMETERS.values()
    >>> values = {each.name: each.default for group in groups for each in group}
    >>> gate = Gate(Settings.from_values(values), port=8170)
    >>> gate.refuses("localhost:8170", "http://localhost:8170", is_socket=True)
    ''
    >>> gate.refuses("localhost:8170", "https://elsewhere.example", is_socket=True)
    "origin 'https://elsewhere.example' is not this server's page"
    >>> gate.accepts_token("guess")
    False
"""
