/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/* Policy: an outer map of rule sets, each an LPM trie over identity, direction, protocol and port. */
#pragma once
#include "types.h"

enum policy_flags {
	POLICY_DENY = 1,
	POLICY_UNENFORCED = 2,	/* allowed only under a condition that is not enforced yet (L7): dropped with its own reason */
	POLICY_AUDIT = 4,	/* comes from an audited policy */
};

enum policy_prefix {
	POLICY_PREFIX_L3 = 40,		/* identity + direction: always matched in full */
	POLICY_PREFIX_PROTO = 48,
	POLICY_PREFIX_PORT = 64,
};

struct policy_key {
	__u32 prefixlen;		/* 40, 48, or 48 + n for the first n bits of the port */
	identity_t identity;		/* 0 = any */
	__u8 direction;			/* enum traffic_direction */
	__u8 protocol;			/* IPPROTO_*, 0 = any */
	be16_t port;			/* destination port; ICMP type for ICMP and ICMPv6 */
};
_Static_assert(sizeof(struct policy_key) == 12, "policy_key");

struct policy_entry {
	origin_id_t origin;
	__u32 precedence;		/* higher wins; then the longer prefix; then the exact identity */
	__u16 l7_rule_set;
	__u8 flags;			/* enum policy_flags */
	__u8 prefix_bits;		/* 0, 8 or 8 + n: how much of protocol and port the key names */
};
_Static_assert(sizeof(struct policy_entry) == 12, "policy_entry");
