/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/* Ports of a fragmented datagram, remembered from its first fragment. */
#pragma once
#include "types.h"

struct frag_key {
	struct ip_addr source;
	struct ip_addr destination;
	__u32 id;
	__u8 protocol;
	__u8 pad[3];
};

struct frag_value {
	be16_t source_port;
	be16_t destination_port;
};
