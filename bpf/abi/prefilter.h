/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/* XDP prefilter: source prefixes dropped before anything else. */
#pragma once
#include "types.h"

struct cidr_deny_key {
	__u32 prefixlen;		/* in the 128-bit form */
	struct ip_addr addr;
};

struct cidr_deny_value {
	__u64 packets;
};
