/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/* Load-time constants of all programs: one read-only struct, patched before load, so that dead branches disappear. */
#pragma once
#include "../abi/types.h"

enum config_flags {
	CONFIG_IPV4 = 1,
	CONFIG_IPV6 = 2,
	CONFIG_MASQUERADE_IPV4 = 4,
	CONFIG_MASQUERADE_IPV6 = 8,
	CONFIG_SOURCE_IP_CHECK = 16,
	CONFIG_ALLOW_HOST = 32,		/* the local node may always reach its pods (probes) */
	CONFIG_DROP_EVENTS = 64,
	CONFIG_TRACE_EVENTS = 128,
	CONFIG_VERDICT_EVENTS = 256,
	CONFIG_SOCKET_LB = 512,
	CONFIG_PER_PACKET_LB = 1024,
	CONFIG_REDIRECT_PEER = 2048,	/* deliver by bpf_redirect_peer; otherwise by bpf_redirect */
	CONFIG_REDIRECT_NEIGH = 4096,	/* leave by bpf_fib_lookup + bpf_redirect_neigh; otherwise through the stack */
	CONFIG_PREFILTER = 8192,
	CONFIG_HOST_FIREWALL = 16384,	/* the node's own traffic is judged by the rule set of the endpoint behind ifindex 0 */
};

struct datapath_config {
	__u32 flags;			/* enum config_flags */
	__u32 layout_hash;		/* of all shared structs; the loader compares */
	struct ip_addr node_ipv4;
	struct ip_addr node_ipv6;
	struct ip_addr native_cidr_ipv4;	/* destinations inside are not masqueraded */
	struct ip_addr native_cidr_ipv6;
	struct ip_addr loopback_ipv4;	/* whom a pod sees that picked itself as the backend of a service */
	struct ip_addr loopback_ipv6;
	__u32 native_cidr_ipv4_bits;	/* in the 128-bit form */
	__u32 native_cidr_ipv6_bits;
	seconds_t ct_tcp;
	seconds_t ct_tcp_syn;
	seconds_t ct_tcp_closing;
	seconds_t ct_any;
	seconds_t trace_interval;	/* monitor aggregation: at most one trace per direction in this time */
	__u16 nat_port_min;
	__u16 nat_port_max;
	ifindex_t native_ifindex;
};
