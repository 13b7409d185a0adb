/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/* Masquerade: pods speak to the outside with the node's address. */
#pragma once
#include "icmp.h"
#include "identity.h"
#include "../maps/nat.h"

#define NAT_TRIES 32

inline_fn bool nat_protocol(const struct packet *p)
{
	return p->protocol == IPPROTO_TCP || p->protocol == IPPROTO_UDP || (p->flags & PACKET_ICMP_ECHO);
}

inline_fn bool port_in_nat_range(be16_t port)
{
	__u16 number = bpf_ntohs(port);

	return number >= config.nat_port_min && number <= config.nat_port_max;
}

/* Inside the cluster pods keep their address: other pods, and nodes, which have routes back. */
inline_fn bool masquerade_wanted(const struct packet *p)
{
	struct ipcache_value *cached;
	bool v6 = p->flags & PACKET_IPV6;

	if (!(config.flags & (v6 ? CONFIG_MASQUERADE_IPV6 : CONFIG_MASQUERADE_IPV4)))
		return false;
	if (v6 ? address_in_prefix(&p->destination, &config.native_cidr_ipv6, config.native_cidr_ipv6_bits) :
		 address_in_prefix(&p->destination, &config.native_cidr_ipv4, config.native_cidr_ipv4_bits))
		return false;
	cached = ipcache_lookup(&p->destination);
	if (!cached)
		return true;
	if (cached->identity == IDENTITY_HOST || cached->identity == IDENTITY_REMOTE_NODE)
		return false;
	return !(cached->identity == IDENTITY_KUBE_APISERVER && !address_is_zero(&cached->node));
}

inline_fn seconds_t nat_lifetime(const struct packet *p)
{
	return p->protocol == IPPROTO_TCP ? config.ct_tcp : config.ct_any;
}

struct nat_search {
	struct nat_key key;		/* the way back; its destination port is tried */
	struct nat_entry entry;
	__u32 start;
	__u32 range;
	seconds_t now;
	bool found;
};

static long nat_try(__u32 step, void *context)
{
	struct nat_search *search = context;
	struct nat_entry *taken;
	__u32 range = search->range ? search->range : 1;

	search->key.destination_port = bpf_htons(config.nat_port_min + (search->start + step) % range);
	taken = bpf_map_lookup_elem(&cilium_snat, &search->key);
	if (taken && taken->expires > search->now) {
		/* Our own, left over when the other half was evicted? */
		if (taken->port != search->entry.port || !address_equal(&taken->addr, &search->entry.addr))
			return 0;
	} else if (taken) {
		bpf_map_delete_elem(&cilium_snat, &search->key);
		taken = 0;
	}
	if (!taken && bpf_map_update_elem(&cilium_snat, &search->key, &search->entry, BPF_NOEXIST) < 0)
		return 0;
	search->found = true;
	return 1;
}

/* ICMP has one identifier for both ends; the key of the way back holds it in both ports. */
static long nat_try_echo(__u32 step, void *context)
{
	struct nat_search *search = context;
	__u32 range = search->range ? search->range : 1;

	search->key.source_port = bpf_htons(config.nat_port_min + (search->start + step) % range);
	return nat_try(step, context);
}

/* Finds a free port of the node for the flow and writes both entries. */
subprogram int nat_allocate(struct run *r, struct nat_key *forward, struct nat_entry *result)
{
	struct packet *p = &r->packet;
	struct nat_search search = {
		.now = r->now,
		.range = config.nat_port_max - config.nat_port_min + 1,
		.start = bpf_get_prandom_u32() & 0xffff,
	};

	address_copy(&search.key.source, &p->destination);
	__builtin_memcpy(&search.key.destination, &result->addr, 16);
	search.key.source_port = p->destination_port;
	search.key.protocol = p->protocol;
	search.key.reverse = 1;
	address_copy(&search.entry.addr, &p->source);
	search.entry.port = p->source_port;
	search.entry.expires = r->now + nat_lifetime(p);
	if (p->flags & PACKET_ICMP_ECHO)
		bpf_loop(NAT_TRIES, nat_try_echo, &search, 0);
	else
		bpf_loop(NAT_TRIES, nat_try, &search, 0);
	if (!search.found)
		return NAT_FAIL(DROP_NAT_NO_MAPPING);
	result->port = search.key.destination_port;
	result->pad = 0;
	result->expires = search.entry.expires;
	if (bpf_map_update_elem(&cilium_snat, forward, result, BPF_ANY) < 0)
		return NAT_FAIL(DROP_NAT_NO_MAPPING);
	return 0;
}

/* Once a second at most: both entries live on, and a lost way back is written again. */
inline_fn void nat_refresh(struct run *r, struct nat_key *forward, struct nat_entry *entry)
{
	seconds_t expires = r->now + nat_lifetime(&r->packet);
	struct nat_key back = { .protocol = forward->protocol, .reverse = 1 };
	struct nat_entry value = {};

	if (likely(entry->expires == expires))
		return;
	entry->expires = expires;
	address_copy(&back.source, &forward->destination);
	address_copy(&back.destination, &entry->addr);
	back.source_port = r->packet.flags & PACKET_ICMP_ECHO ? entry->port : forward->destination_port;
	back.destination_port = entry->port;
	address_copy(&value.addr, &forward->source);
	value.port = forward->source_port;
	value.expires = expires;
	bpf_map_update_elem(&cilium_snat, &back, &value, BPF_ANY);
}

inline_fn void node_address(struct ip_addr *to, bool v6)
{
	const volatile struct ip_addr *node = v6 ? &config.node_ipv6 : &config.node_ipv4;

	for (int i = 0; i < 4; i++)
		to->words[i] = node->words[i];
}

/* Replaces one end of the packet inside an ICMP error. 0 or a failure. */
subprogram int rewrite_inner(struct __sk_buff *skb, struct packet *p, struct inner_packet *inner, struct nat_entry *to)
{
	bool destination = to->pad;
	struct ip_addr from __attribute__((aligned(8))), target __attribute__((aligned(8)));
	be16_t old = destination ? inner->destination_port : inner->source_port, port = to->port;
	bool icmp = inner->protocol == IPPROTO_ICMP || inner->protocol == ICMPV6;
	__u32 checksum = p->l4 + 2;
	int result;

	address_copy(&from, destination ? &inner->destination : &inner->source);
	__builtin_memcpy(&target, &to->addr, 16);
	/* The inner IPv4 header with its checksum sums to a constant: the outer ICMP checksum does not move. */
	if (p->flags & PACKET_IPV6)
		result = rewrite_ipv6_address(skb, inner->l3, checksum, 0, &from, &target, destination);
	else
		result = rewrite_ipv4_address(skb, inner->l3, 0, 0, from.words[3], target.words[3], destination);
	if (result < 0)
		return result;
	if (bpf_l4_csum_replace(skb, checksum, old, port, 2) < 0)
		return NAT_FAIL(DROP_CSUM_L4);
	if (bpf_skb_store_bytes(skb, inner->l4 + (icmp ? 4 : destination ? 2 : 0), &port, 2, 0) < 0)
		return NAT_FAIL(DROP_WRITE_ERROR);
	return 0;
}

/* A pod's ICMP error about a packet that came back to it: told in the words of the node. 0 or a failure. */
subprogram int nat_egress_error(struct __sk_buff *skb, struct run *r)
{
	struct packet *p = &r->packet;
	struct inner_packet inner = {};
	struct nat_key key = {};
	struct nat_entry *entry, to;
	int result = parse_inner(skb, p, &inner);

	if (result < 0)
		return result;
	key.protocol = inner.protocol;
	address_copy(&key.source, &inner.destination);
	address_copy(&key.destination, &inner.source);
	key.source_port = inner.destination_port;
	key.destination_port = inner.source_port;
	entry = bpf_map_lookup_elem(&cilium_snat, &key);
	if (!entry || entry->expires <= r->now)
		return NAT_FAIL(DROP_NAT_NO_MAPPING);
	to = *entry;
	to.pad = REWRITE_DESTINATION;
	result = rewrite_inner(skb, p, &inner, &to);
	if (result < 0)
		return result;
	return rewrite(skb, p, &entry->addr, PORT_END(p->source_port, REWRITE_SOURCE));
}

/* Leaving the node. 0 or a failure. */
subprogram int nat_egress(struct __sk_buff *skb, struct run *r)
{
	struct packet *p = &r->packet;
	struct nat_key key = { .protocol = p->protocol };
	struct nat_entry fresh = {}, *entry;
	struct ip_addr node __attribute__((aligned(8)));
	int result;

	if (p->flags & PACKET_ICMP_ERROR)
		return nat_egress_error(skb, r);
	if (!nat_protocol(p))
		return NAT_FAIL(DROP_NAT_UNSUPPORTED);
	address_copy(&key.source, &p->source);
	address_copy(&key.destination, &p->destination);
	key.source_port = p->source_port;
	key.destination_port = p->destination_port;
	node_address(&node, p->flags & PACKET_IPV6);
	entry = bpf_map_lookup_elem(&cilium_snat, &key);
	if (entry && entry->expires > r->now && address_equal(&entry->addr, &node)) {
		nat_refresh(r, &key, entry);
		return rewrite(skb, p, &node, PORT_END(entry->port, REWRITE_SOURCE));
	}
	__builtin_memcpy(&fresh.addr, &node, 16);
	result = nat_allocate(r, &key, &fresh);
	if (result < 0)
		return result;
	return rewrite(skb, p, &node, PORT_END(fresh.port, REWRITE_SOURCE));
}

inline_fn struct nat_entry *nat_back(const struct ip_addr *source, const struct ip_addr *destination, be16_t source_port,
				     be16_t destination_port, __u8 protocol, seconds_t now)
{
	struct nat_key key = { .protocol = protocol, .reverse = 1 };
	struct nat_entry *entry;

	address_copy(&key.source, source);
	address_copy(&key.destination, destination);
	key.source_port = source_port;
	key.destination_port = destination_port;
	entry = bpf_map_lookup_elem(&cilium_snat, &key);
	return entry && entry->expires > now ? entry : 0;
}

/* An ICMP error about a masqueraded packet: outer destination and inner source become the pod's. */
subprogram int nat_ingress_error(struct __sk_buff *skb, struct run *r)
{
	struct packet *p = &r->packet;
	struct inner_packet inner = {};
	struct nat_entry *entry, to;
	int result = parse_inner(skb, p, &inner);

	if (result < 0)
		return 0;
	entry = nat_back(&inner.destination, &inner.source, inner.destination_port, inner.source_port, inner.protocol,
			 r->now);
	if (!entry)
		return 0;
	to = *entry;
	to.pad = REWRITE_SOURCE;
	result = rewrite_inner(skb, p, &inner, &to);
	if (result < 0)
		return result;
	result = rewrite(skb, p, &entry->addr, PORT_END(p->destination_port, REWRITE_DESTINATION));
	return result < 0 ? result : 1;
}

/* Coming back. 1: translated to a pod, 0: not ours, or a failure. */
subprogram int nat_ingress(struct __sk_buff *skb, struct run *r)
{
	struct packet *p = &r->packet;
	struct ip_addr pod __attribute__((aligned(8)));
	struct nat_entry *entry;
	int result;

	if (p->flags & PACKET_ICMP_ERROR)
		return nat_ingress_error(skb, r);
	if (!nat_protocol(p) || !port_in_nat_range(p->destination_port))
		return 0;
	entry = nat_back(&p->source, &p->destination, p->source_port, p->destination_port, p->protocol, r->now);
	if (!entry)
		return 0;
	address_copy(&pod, &entry->addr);
	result = rewrite(skb, p, &pod, PORT_END(entry->port, REWRITE_DESTINATION));
	return result < 0 ? result : 1;
}
