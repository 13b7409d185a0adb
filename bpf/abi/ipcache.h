/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/* Address to identity: exact addresses in a hash, prefixes in an LPM trie. */
#pragma once
#include "types.h"

struct ipcache_exact_key {
	struct ip_addr addr;
};

struct ipcache_prefix_key {
	__u32 prefixlen;		/* counted in the 128-bit form: an IPv4 /24 is 120 */
	struct ip_addr addr;
};

struct ipcache_value {
	identity_t identity;
	__u32 flags;			/* none yet */
	struct ip_addr node;		/* address of the node that hosts it, zero if none or unknown */
};
_Static_assert(sizeof(struct ipcache_value) == 24, "ipcache_value");
