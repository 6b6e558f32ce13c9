"""Print as many free ports of 127.0.0.1 as are asked for, all different."""

from __future__ import annotations

import socket
import sys

probes = [socket.socket() for _ in range(int(sys.argv[1]))]
for probe in probes:
    probe.bind(("127.0.0.1", 0))
print(*(probe.getsockname()[1] for probe in probes))  # noqa: T201
