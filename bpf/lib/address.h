/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/* Addresses of both families in one form. All pointers here are 8-byte aligned or point into maps. */
#pragma once
#include "base.h"

struct address_halves {
	__u64 high;
	__u64 low;
};

inline_fn void address_copy(struct ip_addr *to, const struct ip_addr *from)
{
	((struct address_halves *)to)->high = ((const struct address_halves *)from)->high;
	((struct address_halves *)to)->low = ((const struct address_halves *)from)->low;
}

inline_fn bool address_equal(const struct ip_addr *a, const struct ip_addr *b)
{
	return ((const struct address_halves *)a)->high == ((const struct address_halves *)b)->high &&
	       ((const struct address_halves *)a)->low == ((const struct address_halves *)b)->low;
}

inline_fn void address_from_ipv4(struct ip_addr *to, __u32 address)
{
	((struct address_halves *)to)->high = 0;
	to->words[2] = bpf_htonl(0xffff);
	to->words[3] = address;
}

inline_fn bool address_is_ipv4(const struct ip_addr *a)
{
	return ((const struct address_halves *)a)->high == 0 && a->words[2] == bpf_htonl(0xffff);
}

inline_fn bool address_is_zero(const struct ip_addr *a)
{
	return (((const struct address_halves *)a)->high | ((const struct address_halves *)a)->low) == 0;
}

/* `bits` counts in the 128-bit form. */
inline_fn bool address_in_prefix(const struct ip_addr *a, const volatile struct ip_addr *prefix, __u32 bits)
{
	for (int i = 0; i < 4; i++) {
		__u32 want = bits > 32u * i ? bits - 32u * i : 0;
		__u32 mask = want >= 32 ? ~0u : want == 0 ? 0 : bpf_htonl(~0u << (32 - want));
		if ((a->words[i] ^ prefix->words[i]) & mask)
			return false;
	}
	return true;
}

inline_fn bool address_is_node(const struct ip_addr *a)
{
	const volatile struct ip_addr *node = address_is_ipv4(a) ? &config.node_ipv4 : &config.node_ipv6;
	return a->words[3] == node->words[3] && a->words[2] == node->words[2] && a->words[1] == node->words[1] &&
	       a->words[0] == node->words[0];
}
