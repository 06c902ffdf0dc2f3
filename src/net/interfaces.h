// Which address of this host others reach, and which devices UCX should use for it.
//
// A host has addresses that lead nowhere from outside: that of docker0 is the same on every host.
// UCX offers all devices to its peers unless told otherwise, so that a client may connect to its
// own docker0 instead of the server's. The devices therefore follow from the address that is used.
#pragma once

#include <set>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/error.h"
#include "net/address.h"

namespace benchfs::net {

// The address to advertise. The address of the named interface; or else the one from which this
// host reaches others by its default route; or else that of the first interface that runs and is no
// bridge; or 127.0.0.1 when there is none. IPv4 first; no link-local addresses. Errors: kConfig (no
// such interface, or without an address), kSystem.
Result<std::string> routable_ip(std::string_view interface_name);

// The addresses beside `ip` that could have been meant, as "10.0.0.5 (eth1)".
std::vector<std::string> other_addresses(const std::string& ip);

// The UCX devices (UCX_NET_DEVICES) for a process that listens at `ip`: the interface that has it,
// and the InfiniBand ports. Empty, which is all devices, when no interface has it, or when the user
// has set UCX_NET_DEVICES.
std::string devices_at(const std::string& ip);
// The same for a process that connects to these addresses: the interfaces on the path to them.
std::string devices_towards(std::span<const SocketAddress> servers);

// The addresses of this host, 127.0.0.1 included.
std::set<std::string> local_ips();

}  // namespace benchfs::net
