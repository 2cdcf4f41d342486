"""The worker of a server's jobs: a process that carries out one order. See ``curator.orders`` for what it is told."""
