"""Hosts on one machine: network namespaces, each with an address of its own, joined by a bridge.

A host is held by a process that sleeps in it. The kernel kills the holders when this process ends,
however it ends, and a namespace goes with its last process: nothing is left behind.
"""

import os
import shutil
import subprocess

NETWORK = "10.98.7"
CLIENT_DEVICE = "bridge0"
SERVER_DEVICE = "wire0"


class Unavailable(Exception):
    """This user or this machine cannot make hosts; the text says why and what to do."""


def _quietly(command):
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise Unavailable(f"{' '.join(command)}: {done.stderr.strip()}")


class Host:
    def __init__(self, address, device):
        self.address, self.device = address, device
        # UCX looks for devices in /sys, which shows the namespace it was mounted in.
        self.holder = subprocess.Popen(
            ["setpriv", "--pdeathsig", "KILL", "unshare", "--net", "--mount", "sh", "-c",
             "mount -t sysfs sysfs /sys && ip link set lo up && echo ready && exec sleep infinity"],
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        if self.holder.stdout.readline() != "ready\n":
            raise Unavailable(f"cannot make a network namespace: {self.holder.stderr.read().strip()}")

    def command(self, words):
        """What runs `words` on this host."""
        return ["nsenter", "--target", str(self.holder.pid), "--net", "--mount", *map(str, words)]

    def stop(self):
        self.holder.kill()
        self.holder.wait()
        self.holder.stdout.close()
        self.holder.stderr.close()


class Hosts:
    """A client host and `count` server hosts; a context manager."""

    def __init__(self, count):
        self.count = count
        self.client, self.servers = None, []

    def __enter__(self):
        for tool in ("ip", "nsenter", "setpriv", "unshare"):
            if shutil.which(tool) is None:
                raise Unavailable(f"{tool} is missing; install the packages iproute2 and util-linux")
        if os.geteuid() != 0:
            raise Unavailable("network namespaces need root; run this command as root")
        try:
            self._connect()
        except BaseException:
            self.__exit__()
            raise
        return self

    def _connect(self):
        self.client = Host(f"{NETWORK}.254", CLIENT_DEVICE)
        inside = self.client.command
        _quietly(inside(["ip", "link", "add", CLIENT_DEVICE, "type", "bridge"]))
        _quietly(inside(["ip", "address", "add", f"{self.client.address}/24", "dev", CLIENT_DEVICE]))
        for number in range(self.count):
            host = Host(f"{NETWORK}.{number + 1}", SERVER_DEVICE)
            self.servers.append(host)
            port = f"port{number}"
            _quietly(inside(["ip", "link", "add", port, "type", "veth", "peer", "name",
                             SERVER_DEVICE, "netns", str(host.holder.pid)]))
            _quietly(inside(["ip", "link", "set", port, "master", CLIENT_DEVICE, "up"]))
            _quietly(host.command(["ip", "address", "add", f"{host.address}/24", "dev", SERVER_DEVICE]))
            _quietly(host.command(["ip", "link", "set", SERVER_DEVICE, "up"]))
        _quietly(inside(["ip", "link", "set", CLIENT_DEVICE, "up"]))

    def __exit__(self, *_):
        for host in [self.client, *self.servers]:
            if host is not None:
                host.stop()
