/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/* Where a packet goes once it may. */
#pragma once
#include "icmp.h"
#include "policy.h"
#include "lb.h"

#define DELIVER_FAIL(reason) FAIL_AT(FILE_LIB_DELIVER, reason)
#define DELIVER_TO_STACK TC_ACT_OK
#define MARK_DELIVERED 0xc5d10001

/* We are a router here: one hop less. 1: the hop count is used up, the stack answers with its ICMP error. */
inline_fn int decrement_hops(struct __sk_buff *skb, const struct packet *p)
{
	void *data = (void *)(long)skb->data + ETH_HEADER, *end = (void *)(long)skb->data_end;

	if (p->flags & PACKET_IPV6) {
		struct ipv6hdr *ip = data;

		if ((void *)(ip + 1) > end || ip->hop_limit <= 1)
			return 1;
		ip->hop_limit--;
		return 0;
	}
	struct iphdr *ip = data;
	__u32 sum;

	if ((void *)(ip + 1) > end || ip->ttl <= 1)
		return 1;
	ip->ttl--;
	sum = (__u32)ip->check + bpf_htons(0x0100);
	ip->check = (__u16)(sum + (sum >> 16));
	return 0;
}

/*
 * Redirecting to the veth itself shows the packet to the pod's link layer: it wants the right addresses. It also passes
 * cil_to_container, which must not judge and count it again, least of all under the address of a service. A mark does not
 * cross into another network namespace: no pod can set it.
 */
subprogram int deliver_by_veth(struct __sk_buff *skb, __u32 ifindex)
{
	struct endpoint_value *endpoint = bpf_map_lookup_elem(&cilium_endpoints, &ifindex);
	struct mac_addr macs[2];

	if (!endpoint)
		return DELIVER_FAIL(DROP_UNKNOWN_TARGET);
	macs[0] = endpoint->mac;
	macs[1] = endpoint->node_mac;
	if (bpf_skb_store_bytes(skb, 0, macs, sizeof(macs), 0) < 0)
		return DELIVER_FAIL(DROP_WRITE_ERROR);
	skb->mark = MARK_DELIVERED;
	return bpf_redirect(ifindex, 0);
}

/* Into the pod behind `ifindex`, from a tc ingress hook. */
inline_fn int deliver_to_pod(struct __sk_buff *skb, struct run *r, struct flow *f, __u32 ifindex)
{
	if (unlikely(f->report && has(CONFIG_TRACE_EVENTS)))
		TRACE(skb, r, TRACE_TO_ENDPOINT);
	if (unlikely(decrement_hops(skb, &r->packet)))
		return DELIVER_TO_STACK;
	if (has(CONFIG_REDIRECT_PEER))
		return bpf_redirect_peer(ifindex, 0);
	return deliver_by_veth(skb, ifindex);
}

/*
 * The kernel's answers about the way out, direct-mapped by flow, of use until the clock's next step: so a changed route
 * holds for every packet after 17 ms. The whole tuple is compared, since rules and multipath routes may look at all of it.
 */
struct route {
	struct ip_addr source;
	struct ip_addr destination;
	__u64 ports_protocol;
	__u32 from;			/* ifindex */
	__u32 tick;
	struct ip_addr next_hop;	/* as bpf_fib_lookup gives it */
	__u32 ifindex;
	__u32 family;
} __attribute__((aligned(8)));

#define ROUTES 256

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__type(key, __u32);
	__type(value, struct route);
	__uint(max_entries, ROUTES);
} cilium_routes SEC(".maps");

inline_fn __u64 ports_protocol(const struct packet *p)
{
	return (__u64)p->source_port << 32 | (__u32)p->destination_port << 16 | p->protocol;
}

inline_fn __u32 route_slot(const struct packet *p)
{
	__u32 hash = p->destination.words[3] ^ (p->source.words[3] << 5) ^ p->destination_port ^
		     ((__u32)p->source_port << 16);

	return (hash * 0x9e3779b1u) >> 24;	/* 8 bits: ROUTES */
}

inline_fn bool route_known(const struct route *route, const struct __sk_buff *skb, const struct run *r)
{
	return route->tick == r->tick && route->ports_protocol == ports_protocol(&r->packet) &&
	       address_equal(&route->destination, &r->packet.destination) &&
	       address_equal(&route->source, &r->packet.source) && route->from == skb->ifindex;
}

inline_fn void fib_request(struct __sk_buff *skb, struct packet *p, struct bpf_fib_lookup *fib)
{
	fib->ifindex = skb->ifindex;
	fib->l4_protocol = p->protocol;
	fib->sport = p->source_port;
	fib->dport = p->destination_port;
	if (p->flags & PACKET_IPV6) {
		fib->family = AF_INET6;
		__builtin_memcpy(fib->ipv6_src, &p->source, 16);
		__builtin_memcpy(fib->ipv6_dst, &p->destination, 16);
	} else {
		fib->family = AF_INET;
		fib->ipv4_src = p->source.words[3];
		fib->ipv4_dst = p->destination.words[3];
	}
}

/* False: no way out that is ours to take. */
inline_fn bool route_ask(struct __sk_buff *skb, struct run *r, struct route *route)
{
	struct bpf_fib_lookup fib = {};
	long result;

	fib_request(skb, &r->packet, &fib);
	result = bpf_fib_lookup(skb, &fib, sizeof(fib), 0);
	if (result != BPF_FIB_LKUP_RET_SUCCESS && result != BPF_FIB_LKUP_RET_NO_NEIGH)
		return false;
	address_copy(&route->source, &r->packet.source);
	address_copy(&route->destination, &r->packet.destination);
	route->ports_protocol = ports_protocol(&r->packet);
	route->from = skb->ifindex;
	__builtin_memcpy(&route->next_hop, fib.ipv6_dst, 16);
	route->ifindex = fib.ifindex;
	route->family = fib.family;
	route->tick = r->tick;
	return true;
}

/* Out of this node, or to an address the stack knows better. */
subprogram int deliver_outside(struct __sk_buff *skb, struct run *r, __u32 report)
{
	struct bpf_redir_neigh neighbour = {};
	__u32 slot = route_slot(&r->packet);
	struct route *route = bpf_map_lookup_elem(&cilium_routes, &slot);

	if (report && has(CONFIG_TRACE_EVENTS))
		TRACE(skb, r, has(CONFIG_REDIRECT_NEIGH) ? TRACE_TO_NETWORK : TRACE_TO_STACK);
	if (!has(CONFIG_REDIRECT_NEIGH))
		return DELIVER_TO_STACK;
	if (!route || (!route_known(route, skb, r) && !route_ask(skb, r, route)))
		return DELIVER_TO_STACK;	/* local, unreachable, too big: the stack finds the right words */
	if (decrement_hops(skb, &r->packet))
		return DELIVER_TO_STACK;
	neighbour.nh_family = route->family;
	__builtin_memcpy(neighbour.ipv6_nh, &route->next_hop, 16);
	return bpf_redirect_neigh(route->ifindex, &neighbour, sizeof(neighbour), 0);
}

/* Who the ends are was found out when the flow was judged; no need to ask again for an event of the same epoch. */
inline_fn void name_by_flow(struct run *r, const struct flow *f)
{
	const struct ct_entry *entry = f->entry;

	if (entry->epoch_egress != r->epoch && entry->epoch_ingress != r->epoch)
		return;
	if (!r->source_identity)
		r->source_identity = f->origin ? entry->source_identity : entry->destination_identity;
	if (!r->destination_identity)
		r->destination_identity = f->origin ? entry->destination_identity : entry->source_identity;
}

/* Judges the receiving pod and closes the books of the flow: create or refresh. 0 or a failure. */
inline_fn int account(struct __sk_buff *skb, struct run *r, struct flow *f, __u32 ok)
{
	if (likely(f->entry)) {
		if (unlikely(is_pure_syn(&r->packet)))
			f->entry->service = r->service;
		ct_update(r, f, skb->len);
		if (unlikely(f->report && has(CONFIG_TRACE_EVENTS)))
			name_by_flow(r, f);
		return 0;
	}
	f->report = true;
	/* An error without its flow was judged by itself; it opens nothing. */
	if (r->packet.flags & PACKET_ICMP_ERROR)
		return 0;
	return ct_create(r, f, ok, skb->len);
}

/* What arrives for a local pod, from the wire or the stack: 0 or a failure. */
inline_fn int admit(struct __sk_buff *skb, struct run *r, struct flow *f, __u32 ifindex, bool from_host)
{
	__u32 ok = 0;
	int result;

	if (unlikely(r->packet.flags & PACKET_ICMP_ERROR) && !(r->packet.flags & PACKET_RELATED))
		related_tuple(skb, &r->packet);
	ct_lookup(r, f);
	result = judge(skb, r, f, 0, ifindex, false, &ok);
	if (result < 0)
		return result;
	if (has(CONFIG_HOST_FIREWALL) && from_host) {
		result = judge_host(skb, r, f, true, &ok);
		if (result < 0)
			return result;
	}
	result = account(skb, r, f, ok);
	if (result < 0)
		return result;
	if (unlikely(f->entry && !f->origin && f->entry->service && !(r->packet.flags & PACKET_RELATED)))
		return service_restore(skb, r, f->entry->service);
	return 0;
}
