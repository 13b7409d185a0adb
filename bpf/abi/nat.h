/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/* Masquerade: two entries per flow, the original tuple and the translated one. */
#pragma once
#include "types.h"

struct nat_key {
	struct ip_addr source;
	struct ip_addr destination;
	be16_t source_port;		/* ICMP echo: identifier */
	be16_t destination_port;
	__u8 protocol;
	__u8 reverse;			/* 0: leaving the node, 1: coming back */
	__u16 pad;
};
_Static_assert(sizeof(struct nat_key) == 40, "nat_key");

struct nat_entry {
	struct ip_addr addr;		/* new source (reverse 0) or new destination (reverse 1) */
	be16_t port;
	__u16 pad;
	seconds_t expires;
};
_Static_assert(sizeof(struct nat_entry) == 24, "nat_entry");
