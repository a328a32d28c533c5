"""The back ends: one file each, which registers itself.

A file may import the library it is about only inside functions: all of them are imported to know
what there is, whether the libraries are installed or not.
"""
