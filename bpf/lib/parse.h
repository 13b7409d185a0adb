/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/* From bytes to a tuple. A packet that cannot be read completely is an error, never a guess. */
#pragma once
#include "address.h"
#include "../maps/frag.h"

enum packet_flags {
	PACKET_IPV6 = 1,
	PACKET_LATER_FRAGMENT = 2,	/* no transport header in this packet; ports come from the fragment table */
	PACKET_ICMP_ERROR = 4,
	PACKET_ICMP_ECHO = 8,
	PACKET_RELATED = 16,		/* the tuple is that of the flow an ICMP error speaks of, as seen from its sender */
};

/* The first 37 bytes have the shape of ct_key: addresses, ports, protocol. */
struct packet {
	struct ip_addr source;
	struct ip_addr destination;
	be16_t source_port;		/* ICMP echo: the identifier, in both */
	be16_t destination_port;
	__u8 protocol;
	__u8 tcp_flags;
	__u8 flags;			/* enum packet_flags */
	__u8 icmp_type;
	__u16 l3;			/* offset of the IP header */
	__u16 l4;			/* offset of the transport header */
	__u32 pad;
} __attribute__((aligned(8)));

enum parse_result {
	PARSE_OK = 0,
	PARSE_LINK = 1,		/* ARP, neighbour discovery, MLD: belongs to the link, passes */
	PARSE_OTHER = 2,	/* no IP at all */
};

#define PARSE_FAIL(reason) FAIL_AT(FILE_LIB_PARSE, reason)

/* Behind options and extension headers the transport header may lie outside the linear part. */
subprogram int pull_transport(struct __sk_buff *skb, struct packet *p)
{
	__u32 wanted = p->l4 + 20, linear = skb->data_end - skb->data;

	if (wanted > skb->len)
		wanted = skb->len;
	return wanted > linear ? bpf_skb_pull_data(skb, wanted) : 0;
}

subprogram int fragment_ports(struct packet *p, __u32 id, bool first)
{
	struct frag_key key = { .id = id, .protocol = p->protocol };
	struct frag_value *found;

	address_copy(&key.source, &p->source);
	address_copy(&key.destination, &p->destination);
	if (first) {
		struct frag_value value = { .source_port = p->source_port, .destination_port = p->destination_port };
		bpf_map_update_elem(&cilium_frag, &key, &value, BPF_ANY);
		return 0;
	}
	found = bpf_map_lookup_elem(&cilium_frag, &key);
	if (!found)
		return PARSE_FAIL(DROP_FRAG_NOT_FOUND);
	p->source_port = found->source_port;
	p->destination_port = found->destination_port;
	return 0;
}

inline_fn int parse_icmp(struct packet *p, const __u8 *header)
{
	__u8 type = header[0];
	bool v6 = p->flags & PACKET_IPV6;

	p->icmp_type = type;
	if (v6 ? (type == 128 || type == 129) : (type == 8 || type == 0)) {
		p->flags |= PACKET_ICMP_ECHO;
		p->source_port = p->destination_port = *(const be16_t *)(header + 4);
	} else if (v6 ? (type >= 1 && type <= 4) : (type == 3 || type == 11 || type == 12)) {
		p->flags |= PACKET_ICMP_ERROR;
	} else if (v6 && ((type >= 130 && type <= 137) || type == 143)) {
		return PARSE_LINK;
	}
	return PARSE_OK;
}

/* Reads the transport header at p->l4. */
inline_fn int parse_transport(struct __sk_buff *skb, struct packet *p)
{
	void *end = (void *)(long)skb->data_end;
	__u32 offset = p->l4;
	__u8 *header;

	if (offset > 512)
		return PARSE_FAIL(DROP_INVALID_PACKET);
	header = (void *)(long)skb->data + offset;
	if (p->protocol == IPPROTO_TCP) {
		if ((void *)(header + 20) > end)
			return PARSE_FAIL(DROP_CT_INVALID_HEADER);
		p->source_port = *(be16_t *)header;
		p->destination_port = *(be16_t *)(header + 2);
		p->tcp_flags = header[13];
		return PARSE_OK;
	}
	if ((void *)(header + 8) > end)
		return PARSE_FAIL(DROP_CT_INVALID_HEADER);
	switch (p->protocol) {
	case IPPROTO_UDP:
	case IPPROTO_SCTP:
		p->source_port = *(be16_t *)header;
		p->destination_port = *(be16_t *)(header + 2);
		return PARSE_OK;
	case IPPROTO_ICMP:
	case ICMPV6:
		if ((p->protocol == ICMPV6) != !!(p->flags & PACKET_IPV6))
			return PARSE_FAIL(DROP_UNKNOWN_L4);
		return parse_icmp(p, header);
	}
	return PARSE_FAIL(DROP_CT_UNKNOWN_PROTOCOL);
}

inline_fn int parse_fragment(struct __sk_buff *skb, struct packet *p, __u32 id, bool later)
{
	int result;

	if (later) {
		p->flags |= PACKET_LATER_FRAGMENT;
		return fragment_ports(p, id, false);
	}
	result = parse_transport(skb, p);
	return result == PARSE_OK ? fragment_ports(p, id, true) : result;
}

inline_fn int parse_ipv4(struct __sk_buff *skb, struct packet *p)
{
	struct iphdr *ip = (void *)(long)skb->data + ETH_HEADER;
	__u32 header, fragment, id;

	if ((void *)(ip + 1) > (void *)(long)skb->data_end)
		return PARSE_FAIL(DROP_INVALID_PACKET);
	header = ip->ihl * 4;
	if (ip->version != 4 || header < 20 || bpf_ntohs(ip->tot_len) < header ||
	    (__u32)bpf_ntohs(ip->tot_len) + ETH_HEADER > skb->len) {
		/* A big-TCP packet says length 0; its real length is the buffer's. */
		if (ip->version != 4 || header < 20 || ip->tot_len != 0 || skb->gso_size == 0)
			return PARSE_FAIL(DROP_INVALID_PACKET);
	}
	address_from_ipv4(&p->source, ip->saddr);
	address_from_ipv4(&p->destination, ip->daddr);
	p->protocol = ip->protocol;
	fragment = bpf_ntohs(ip->frag_off);
	id = ip->id;
	p->l4 = ETH_HEADER + header;
	if (unlikely(header > 20) && pull_transport(skb, p) < 0)
		return PARSE_FAIL(DROP_INVALID_PACKET);
	if (unlikely(fragment & 0x3fff))
		return parse_fragment(skb, p, id, fragment & 0x1fff);
	return parse_transport(skb, p);
}

struct ipv6_walk {
	__u32 fragment_id;
	__u16 fragment_offset;
	bool fragmented;
};

/* Skips extension headers; p->protocol and p->l4 end at the transport header. */
subprogram int parse_ipv6_extensions(struct __sk_buff *skb, struct packet *p, struct ipv6_walk *walk)
{
	__u32 offset = p->l4;
	__u8 next = p->protocol;

	for (int i = 0; i < 8; i++) {
		__u8 header[8] = {};

		switch (next) {
		case IPPROTO_HOPOPTS:
		case IPPROTO_ROUTING:
		case IPPROTO_DSTOPTS:
		case NEXTHDR_AUTH:
		case NEXTHDR_FRAGMENT:
			break;
		case IPPROTO_NONE:
			return PARSE_FAIL(DROP_INVALID_EXTENSION_HEADER);
		default:
			p->protocol = next;
			p->l4 = offset;
			return 0;
		}
		if (bpf_skb_load_bytes(skb, offset, header, sizeof(header)) < 0)
			return PARSE_FAIL(DROP_INVALID_EXTENSION_HEADER);
		if (next == NEXTHDR_FRAGMENT) {
			walk->fragmented = true;
			walk->fragment_offset = bpf_ntohs(*(__u16 *)(header + 2)) & 0xfff9;
			walk->fragment_id = *(__u32 *)(header + 4);
			offset += 8;
		} else {
			offset += next == NEXTHDR_AUTH ? (header[1] + 2) * 4 : (header[1] + 1) * 8;
		}
		next = header[0];
		if (walk->fragment_offset & 0xfff8) {
			p->protocol = next;
			p->l4 = offset;
			return 0;
		}
	}
	return PARSE_FAIL(DROP_INVALID_EXTENSION_HEADER);
}

inline_fn bool is_ipv6_extension(__u8 next)
{
	return next == IPPROTO_HOPOPTS || next == IPPROTO_ROUTING || next == IPPROTO_DSTOPTS || next == NEXTHDR_AUTH ||
	       next == NEXTHDR_FRAGMENT || next == IPPROTO_NONE;
}

inline_fn int parse_ipv6(struct __sk_buff *skb, struct packet *p)
{
	struct ipv6hdr *ip = (void *)(long)skb->data + ETH_HEADER;
	int result;

	if ((void *)(ip + 1) > (void *)(long)skb->data_end || ip->version != 6)
		return PARSE_FAIL(DROP_INVALID_PACKET);
	if ((__u32)bpf_ntohs(ip->payload_len) + ETH_HEADER + 40 > skb->len)
		return PARSE_FAIL(DROP_INVALID_PACKET);
	p->flags = PACKET_IPV6;
	__builtin_memcpy(&p->source, &ip->saddr, 16);
	__builtin_memcpy(&p->destination, &ip->daddr, 16);
	/* A mapped address on the wire would be taken for an IPv4 endpoint. */
	if (address_is_ipv4(&p->source) || address_is_ipv4(&p->destination))
		return PARSE_FAIL(DROP_INVALID_SOURCE_IP);
	p->protocol = ip->nexthdr;
	p->l4 = ETH_HEADER + 40;
	if (unlikely(is_ipv6_extension(p->protocol))) {
		struct ipv6_walk walk = {};

		result = parse_ipv6_extensions(skb, p, &walk);
		if (result < 0)
			return result;
		if (pull_transport(skb, p) < 0)
			return PARSE_FAIL(DROP_INVALID_PACKET);
		if (walk.fragmented && (walk.fragment_offset & 0xfff9))
			return parse_fragment(skb, p, walk.fragment_id, walk.fragment_offset & 0xfff8);
	}
	return parse_transport(skb, p);
}

/* enum parse_result, or a failure. Packet pointers taken before are invalid afterwards. */
inline_fn int parse_packet(struct __sk_buff *skb, struct packet *p)
{
	void *data = (void *)(long)skb->data;
	void *end = (void *)(long)skb->data_end;
	__u32 headers = ETH_HEADER + (skb->protocol == bpf_htons(ETH_P_IPV6) ? 40 : 20) + 20;

	/* A pull copies the head of a packet that its sender still holds: only where headers really lie in fragments. */
	if (unlikely(data + headers > end && skb->len > (__u32)(end - data))) {
		__u32 length = skb->len;

		if (length > headers)
			length = headers;
		if (bpf_skb_pull_data(skb, length) < 0)
			return PARSE_FAIL(DROP_INVALID_PACKET);
	}
	/* Address fields are written by the family's parser. */
	p->source_port = p->destination_port = 0;
	p->tcp_flags = p->flags = p->icmp_type = 0;
	p->l3 = ETH_HEADER;
	p->pad = 0;
	switch (skb->protocol) {
	case bpf_htons(ETH_P_IP):
		return has(CONFIG_IPV4) ? parse_ipv4(skb, p) : PARSE_OTHER;
	case bpf_htons(ETH_P_IPV6):
		return has(CONFIG_IPV6) ? parse_ipv6(skb, p) : PARSE_OTHER;
	case bpf_htons(ETH_P_ARP):
		return PARSE_LINK;
	}
	return PARSE_OTHER;
}
