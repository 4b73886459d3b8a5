"""Past one machine: the server of a file as replicas in a cluster."""
