"""Many recordings, on the processes of this machine or on a Ray cluster, with a manifest."""
