/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/* ICMP errors: they belong to the flow whose packet they carry. */
#pragma once
#include "rewrite.h"

#define ICMP_FAIL(reason) FAIL_AT(FILE_LIB_PARSE, reason)

/* The packet inside an ICMP error, as far as it matters. */
struct inner_packet {
	struct ip_addr source;
	struct ip_addr destination;
	be16_t source_port;
	be16_t destination_port;
	__u8 protocol;
	__u8 icmp_type;
	__u16 l3;
	__u16 l4;
	__u16 pad[3];
} __attribute__((aligned(8)));

inline_fn int inner_network(struct __sk_buff *skb, struct packet *p, struct inner_packet *inner)
{
	if (p->flags & PACKET_IPV6) {
		struct ipv6hdr ip;

		if (bpf_skb_load_bytes(skb, inner->l3, &ip, sizeof(ip)) < 0)
			return ICMP_FAIL(DROP_INVALID_PACKET);
		__builtin_memcpy(&inner->source, &ip.saddr, 16);
		__builtin_memcpy(&inner->destination, &ip.daddr, 16);
		inner->protocol = ip.nexthdr;
		inner->l4 = inner->l3 + 40;
		return 0;
	}
	struct iphdr ip;

	if (bpf_skb_load_bytes(skb, inner->l3, &ip, sizeof(ip)) < 0 || ip.ihl < 5)
		return ICMP_FAIL(DROP_INVALID_PACKET);
	address_from_ipv4(&inner->source, ip.saddr);
	address_from_ipv4(&inner->destination, ip.daddr);
	inner->protocol = ip.protocol;
	inner->l4 = inner->l3 + ip.ihl * 4;
	return 0;
}

/* Only the first 8 transport bytes are promised by the sender; that is ports or an echo identifier. */
subprogram int parse_inner(struct __sk_buff *skb, struct packet *p, struct inner_packet *inner)
{
	be16_t words[4];
	int result;

	inner->l3 = p->l4 + 8;
	result = inner_network(skb, p, inner);
	if (result < 0)
		return result;
	if (bpf_skb_load_bytes(skb, inner->l4, words, sizeof(words)) < 0)
		return ICMP_FAIL(DROP_INVALID_PACKET);
	if (inner->protocol == IPPROTO_ICMP || inner->protocol == ICMPV6) {
		inner->icmp_type = (__u8)words[0];
		inner->source_port = inner->destination_port = words[2];
	} else {
		inner->icmp_type = 0;
		inner->source_port = words[0];
		inner->destination_port = words[1];
	}
	return 0;
}

/*
 * Turns `p` into a packet of the flow that the error speaks of, in the error's direction: its destination is whoever
 * sent the inner packet. An error that is sent to somebody else than that is forged.
 */
subprogram int related_tuple(struct __sk_buff *skb, struct packet *p)
{
	struct inner_packet inner = {};
	int result = parse_inner(skb, p, &inner);

	if (result < 0)
		return result;
	if (!address_equal(&inner.source, &p->destination))
		return ICMP_FAIL(DROP_INVALID_PACKET);
	address_copy(&p->source, &inner.destination);
	p->source_port = inner.destination_port;
	p->destination_port = inner.source_port;
	p->protocol = inner.protocol;
	p->icmp_type = inner.icmp_type;
	p->tcp_flags = 0;
	p->flags |= PACKET_RELATED;
	return 0;
}
