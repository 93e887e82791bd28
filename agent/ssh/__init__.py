"""The SSH listener that carries NETCONF: the only room that imports asyncssh."""
