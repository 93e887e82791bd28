"""The licensing kernel: what is decided and why. No YANG, protocol, disk, socket or clock."""
