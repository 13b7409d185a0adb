/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/* Connection tracking: one entry per flow, both directions, on a normalised tuple. */
#pragma once
#include "types.h"

/* The smaller (address, port) end is "low"; so both directions of a flow give the same key. */
struct ct_key {
	struct ip_addr low;
	struct ip_addr high;
	be16_t port_low;		/* ICMP echo: identifier in both ports */
	be16_t port_high;
	__u8 protocol;
	__u8 kind;			/* enum ct_kind */
	__u16 pad;
};
_Static_assert(sizeof(struct ct_key) == 40, "ct_key");

enum ct_kind {
	CT_FLOW = 0,
	CT_SERVICE = 1,		/* client to service address: remembers the chosen backend, per-packet load balancing only */
};

enum ct_flags {
	CT_ORIGIN_HIGH = 1,	/* the flow was opened by the high end */
	CT_EGRESS_OK = 2,	/* the opener's egress policy on this node allowed it */
	CT_INGRESS_OK = 4,	/* the receiver's ingress policy on this node allowed it */
	CT_SEEN_REPLY = 8,
	CT_FIN_ORIGIN = 16,
	CT_FIN_REPLY = 32,
	CT_RST = 64,
	CT_MASQUERADED = 128,
	CT_HALF_OPEN = 512,	/* in the table of established flows before its handshake is over */
	CT_LOOPBACK = 256,	/* a pod to itself through a service, as the loopback address */
};

struct ct_entry {
	seconds_t expires;
	__u16 flags;			/* enum ct_flags */
	__u8 tcp_flags_origin;		/* OR of all seen, for monitor aggregation */
	__u8 tcp_flags_reply;
	__u32 epoch_egress;		/* low half of the policy epoch at which egress was last allowed */
	__u32 epoch_ingress;
	seconds_t reported_origin;	/* last trace event of this direction */
	seconds_t reported_reply;
	service_id_t service;		/* reverse-NAT id to restore on replies, 0 = none */
	identity_t source_identity;	/* of the opener */
	__u32 packets_origin;
	__u32 packets_reply;
	__u64 bytes_origin;
	__u64 bytes_reply;
	struct ip_addr backend;		/* CT_SERVICE: the chosen backend */
	be16_t backend_port;
	__u16 pad;
	identity_t destination_identity;
	__u64 target_origin;		/* policy epoch << 32 | where the packet's end of the way is: enum ct_target or ifindex */
	__u64 target_reply;
};
_Static_assert(sizeof(struct ct_entry) == 96, "ct_entry");

/* What is remembered of a packet's destination on this node; anything else is the ifindex of a pod's device. */
enum ct_target {
	CT_TARGET_UNKNOWN = 0,
	CT_TARGET_OUTSIDE = 0x7ffffffe,
	CT_TARGET_HOST = 0x7fffffff,
};

enum ct_state {
	CT_NEW = 0,
	CT_ESTABLISHED = 1,
	CT_REPLY = 2,
	CT_RELATED = 3,
};
