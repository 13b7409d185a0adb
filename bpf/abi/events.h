/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/* The event ring: one record layout for drops, policy verdicts and traces; up to 128 bytes of the packet follow. */
#pragma once
#include "types.h"

enum event_type {
	EVENT_DROP = 1,
	EVENT_TRACE = 4,
	EVENT_POLICY_VERDICT = 5,
};

enum trace_point {
	TRACE_TO_ENDPOINT = 0,
	TRACE_TO_PROXY = 1,
	TRACE_TO_HOST = 2,
	TRACE_TO_STACK = 3,
	TRACE_TO_OVERLAY = 4,
	TRACE_FROM_ENDPOINT = 5,
	TRACE_FROM_HOST = 7,
	TRACE_FROM_STACK = 8,
	TRACE_FROM_NETWORK = 10,
	TRACE_TO_NETWORK = 11,
};

enum policy_verdict {
	VERDICT_DENIED = 0,
	VERDICT_ALLOWED = 1,
	VERDICT_AUDITED = 2,
};

enum policy_match {
	MATCH_NONE = 0,
	MATCH_L3_ONLY = 1,
	MATCH_L3_L4 = 2,
	MATCH_L4_ONLY = 3,
	MATCH_ALL = 4,
	MATCH_L3_PROTO = 5,
	MATCH_PROTO_ONLY = 6,
};

enum event_flags {
	EVENT_IPV6 = 1,
	EVENT_L3_DEVICE = 2,		/* the packet bytes begin with the IP header */
};

enum source_file {
	FILE_UNKNOWN = 0,
	FILE_BPF_LXC = 1,
	FILE_BPF_HOST = 2,
	FILE_BPF_XDP = 3,
	FILE_BPF_SOCK = 4,
	FILE_LIB_POLICY = 10,
	FILE_LIB_CONNTRACK = 11,
	FILE_LIB_LB = 12,
	FILE_LIB_NAT = 13,
	FILE_LIB_FIB = 14,
	FILE_LIB_PARSE = 15,
	FILE_LIB_DELIVER = 16,
};

struct packet_event {
	__u8 type;			/* enum event_type */
	__u8 subtype;			/* drop reason, trace point or enum policy_verdict */
	__u8 direction;			/* enum traffic_direction, as the endpoint sees it */
	__u8 ct_state;			/* enum ct_state */
	__u8 file;			/* enum source_file */
	__u8 flags;			/* enum event_flags */
	__u16 line;
	nsec_t time;
	__u32 hash;			/* of the flow */
	__u32 sequence;			/* counts events of this CPU, written or lost */
	identity_t source_identity;
	identity_t destination_identity;
	ifindex_t ifindex;
	rule_set_id_t rule_set;		/* drop by policy and policy verdict: the rule set that was asked */
	origin_id_t origin;		/* and the entry that decided; 0 = default deny */
	endpoint_id_t endpoint;		/* whose program speaks */
	endpoint_id_t peer_endpoint;	/* local destination, 0 if none */
	__u16 original_length;
	__u16 captured_length;
	__u16 cpu;
	__u8 match_type;		/* enum policy_match */
	__u8 protocol;
	struct ip_addr original_ip;	/* before reverse translation, zero if the same */
	service_id_t service;
	be16_t policy_port;		/* destination port the policy was asked for */
	__u16 pad;
};
_Static_assert(sizeof(struct packet_event) == 80, "packet_event");

enum event_capture {
	EVENT_CAPTURE_MAX = 128,
};
