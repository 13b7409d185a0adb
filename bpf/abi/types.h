/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/* Words shared by every map, event and program. Typedef names carry meaning: tools/abigen maps them to TypeScript. */
#pragma once

typedef __u16 be16_t;		/* big endian on the wire and in maps; the codec swaps */
typedef __u32 identity_t;	/* numeric security identity */
typedef __u32 ifindex_t;
typedef __u16 endpoint_id_t;	/* node-local endpoint number */
typedef __u32 rule_set_id_t;	/* node-local number of a compiled rule set, 0 = none: everything is dropped */
typedef __u32 origin_id_t;	/* index + 1 into the rule set's origins, 0 = default deny / no rule */
typedef __u32 service_id_t;	/* node-local number of a service frontend, also the reverse-NAT id */
typedef __u32 seconds_t;	/* monotonic clock of the kernel, in seconds (bpf_ktime_get_ns / 1e9) */
typedef __u64 nsec_t;		/* monotonic clock of the kernel (CLOCK_MONOTONIC) */

/* An IPv6 address; an IPv4 address is written as ::ffff:a.b.c.d, so that both families are one code path. */
struct ip_addr {
	__u32 words[4];		/* network byte order */
};

struct mac_addr {
	__u8 bytes[6];
};

enum traffic_direction {
	DIR_INGRESS = 0,
	DIR_EGRESS = 1,
};
