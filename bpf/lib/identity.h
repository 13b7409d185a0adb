/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/* Whose address is it? */
#pragma once
#include "run.h"
#include "../maps/endpoints.h"
#include "../maps/ipcache.h"

inline_fn struct ipcache_value *ipcache_lookup(const struct ip_addr *address)
{
	struct ipcache_prefix_key prefix = { .prefixlen = 128 };
	struct ipcache_value *value = bpf_map_lookup_elem(&cilium_ipcache_exact, address);

	if (value)
		return value;
	__builtin_memcpy(&prefix.addr, address, 16);
	return bpf_map_lookup_elem(&cilium_ipcache, &prefix);
}

/* The row of a local pod is believed before the ipcache: it exists earlier, and nobody outside writes it. */
subprogram identity_t resolve_identity(const struct ip_addr *address)
{
	struct lxc_value *local = bpf_map_lookup_elem(&cilium_lxc, address);
	struct ipcache_value *cached;

	if (local) {
		struct endpoint_value *endpoint;
		__u32 ifindex = local->ifindex;

		if (local->flags & ENDPOINT_HOST)
			return IDENTITY_HOST;
		endpoint = bpf_map_lookup_elem(&cilium_endpoints, &ifindex);
		if (endpoint)
			return endpoint->identity;
	}
	cached = ipcache_lookup(address);
	return cached ? cached->identity : IDENTITY_WORLD;
}
