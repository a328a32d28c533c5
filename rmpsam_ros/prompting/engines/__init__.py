"""The prompt engines: one file each, which registers itself.

Every file here calls `rmpsam_ros.prompting.load.register` with the names of its engines; nothing
else names them.
"""
