/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/* The object's own copy of the constants; the loader checks layout_hash, then patches the rest before load. */
#pragma once
#include "datapath.h"
#include "layout_hash.h"

const volatile struct datapath_config config = {
	.flags = CONFIG_IPV4 | CONFIG_IPV6 | CONFIG_SOURCE_IP_CHECK | CONFIG_ALLOW_HOST | CONFIG_DROP_EVENTS |
		 CONFIG_TRACE_EVENTS | CONFIG_VERDICT_EVENTS | CONFIG_SOCKET_LB | CONFIG_PER_PACKET_LB |
		 CONFIG_REDIRECT_PEER | CONFIG_REDIRECT_NEIGH | CONFIG_PREFILTER,
	.layout_hash = LAYOUT_HASH,
	.ct_tcp = 8000,
	.ct_tcp_syn = 60,
	.ct_tcp_closing = 10,
	.ct_any = 60,
	.trace_interval = 5,
	.nat_port_min = 61000,
	.nat_port_max = 65535,
};

#define has(flag) ((config.flags & (flag)) != 0)
