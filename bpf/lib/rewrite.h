/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/* Address translation in the packet, checksums included. */
#pragma once
#include "parse.h"

#define NAT_FAIL(reason) FAIL_AT(FILE_LIB_NAT, reason)

enum rewrite_end {
	REWRITE_SOURCE = 0,
	REWRITE_DESTINATION = 1,
};

/* Offset of the checksum behind p->l4, or negative where the protocol cannot be translated. */
inline_fn int checksum_offset(__u8 protocol)
{
	switch (protocol) {
	case IPPROTO_TCP:
		return 16;
	case IPPROTO_UDP:
		return 6;
	case IPPROTO_ICMP:
	case ICMPV6:
		return 2;
	}
	return -1;
}

inline_fn int rewrite_ipv4_address(struct __sk_buff *skb, __u32 l3, __u32 checksum, __u64 flags, __u32 from, __u32 to,
				   bool destination)
{
	if (bpf_l3_csum_replace(skb, l3 + 10, from, to, 4) < 0)
		return NAT_FAIL(DROP_CSUM_L3);
	if (checksum && bpf_l4_csum_replace(skb, checksum, from, to, flags | BPF_F_PSEUDO_HDR | 4) < 0)
		return NAT_FAIL(DROP_CSUM_L4);
	if (bpf_skb_store_bytes(skb, l3 + (destination ? 16 : 12), &to, 4, 0) < 0)
		return NAT_FAIL(DROP_WRITE_ERROR);
	return 0;
}

inline_fn int rewrite_ipv6_address(struct __sk_buff *skb, __u32 l3, __u32 checksum, __u64 flags, struct ip_addr *from,
				   struct ip_addr *to, bool destination)
{
	__s64 difference = bpf_csum_diff(from->words, 16, to->words, 16, 0);

	if (checksum && bpf_l4_csum_replace(skb, checksum, 0, difference, flags | BPF_F_PSEUDO_HDR) < 0)
		return NAT_FAIL(DROP_CSUM_L4);
	if (bpf_skb_store_bytes(skb, l3 + (destination ? 24 : 8), to, 16, 0) < 0)
		return NAT_FAIL(DROP_WRITE_ERROR);
	return 0;
}

/* Puts `to` and `port` in place of the source or destination, in the packet and in `p`. 0 or a failure. */
subprogram int rewrite(struct __sk_buff *skb, struct packet *p, const struct ip_addr *to, __u32 port_end)
{
	be16_t port = port_end >> 1;
	bool destination = port_end & 1, ported = !(p->flags & PACKET_LATER_FRAGMENT);
	struct ip_addr *current = destination ? &p->destination : &p->source;
	be16_t old = destination ? p->destination_port : p->source_port;
	struct ip_addr from __attribute__((aligned(8))), target __attribute__((aligned(8)));
	int offset = checksum_offset(p->protocol), result;
	__u32 checksum, port_at;
	__u64 flags = p->protocol == IPPROTO_UDP ? BPF_F_MARK_MANGLED_0 : 0;

	if (offset < 0)
		return NAT_FAIL(DROP_NAT_UNSUPPORTED);
	address_copy(&from, current);
	address_copy(&target, to);
	checksum = ported && p->protocol != IPPROTO_ICMP ? p->l4 + offset : 0;
	if (p->flags & PACKET_IPV6)
		result = rewrite_ipv6_address(skb, p->l3, checksum, flags, &from, &target, destination);
	else
		result = rewrite_ipv4_address(skb, p->l3, checksum, flags, from.words[3], target.words[3], destination);
	if (result < 0)
		return result;
	address_copy(current, &target);
	if (port == old)
		return 0;
	if (ported) {
		bool icmp = p->protocol == IPPROTO_ICMP || p->protocol == ICMPV6;

		if (icmp && !(p->flags & PACKET_ICMP_ECHO))
			return 0;
		port_at = p->l4 + (icmp ? 4 : destination ? 2 : 0);
		if (bpf_l4_csum_replace(skb, p->l4 + offset, old, port, flags | 2) < 0)
			return NAT_FAIL(DROP_CSUM_L4);
		if (bpf_skb_store_bytes(skb, port_at, &port, 2, 0) < 0)
			return NAT_FAIL(DROP_WRITE_ERROR);
	}
	if (p->flags & PACKET_ICMP_ECHO)
		p->source_port = p->destination_port = port;
	else if (destination)
		p->destination_port = port;
	else
		p->source_port = port;
	return 0;
}

#define PORT_END(port, end) ((__u32)(port) << 1 | (end))
