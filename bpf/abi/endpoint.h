/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/* Local endpoints: what a program must know of the pod behind a device, and which device an address lives behind. */
#pragma once
#include "types.h"

enum endpoint_flags {
	ENDPOINT_HOST = 1,		/* the node itself: delivered to the stack */
	ENDPOINT_AUDIT = 2,		/* policy drops become audited forwards */
	ENDPOINT_SKIP_SPOOF_CHECK = 4,
};

struct endpoint_key {
	ifindex_t ifindex;		/* host side of the pod's veth; 0: the node itself */
};

struct endpoint_value {
	identity_t identity;
	rule_set_id_t rule_set;
	endpoint_id_t id;
	__u16 flags;			/* enum endpoint_flags */
	struct mac_addr mac;		/* of the pod's eth0 */
	struct mac_addr node_mac;	/* of the host side of the veth */
	struct ip_addr ipv4;		/* all zero when the pod has none */
	struct ip_addr ipv6;
};
_Static_assert(sizeof(struct endpoint_value) == 56, "endpoint_value");

struct lxc_key {
	struct ip_addr addr;
};

struct lxc_value {
	ifindex_t ifindex;		/* key of the endpoints map; 0 for the host itself */
	endpoint_id_t id;
	__u16 flags;			/* enum endpoint_flags */
};
_Static_assert(sizeof(struct lxc_value) == 8, "lxc_value");
