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

/* One of this node's own addresses. */
inline_fn bool address_is_host(const struct ip_addr *address)
{
	struct lxc_value *local = bpf_map_lookup_elem(&cilium_lxc, address);

	return local && (local->flags & ENDPOINT_HOST);
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

/* For events of packets that no policy was asked about; the packet must have been read. */
subprogram int name_ends(struct run *r)
{
	struct lxc_value *local;

	if (!r->source_identity)
		r->source_identity = resolve_identity(&r->packet.source);
	if (!r->destination_identity)
		r->destination_identity = resolve_identity(&r->packet.destination);
	if (!r->endpoint) {
		local = bpf_map_lookup_elem(&cilium_lxc, &r->packet.destination);
		if (local)
			r->endpoint = local->id;
	}
	return 0;
}

/* A forwarded packet, told as the aggregation asks for it. `place`: file << 16 | line. */
subprogram int trace(struct __sk_buff *skb, struct run *r, __u32 point, __u32 place)
{
	name_ends(r);
	r->direction = point == TRACE_TO_ENDPOINT ? DIR_INGRESS : DIR_EGRESS;
	return emit_event(skb, r, EVENT_KIND(EVENT_TRACE, point), place);
}

#define TRACE(skb, r, point) trace(skb, r, point, (r)->file << 16 | __LINE__)
