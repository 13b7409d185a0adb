/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
#pragma once
#include "../abi/lb.h"

struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__type(key, struct socket_reverse_key);
	__type(value, struct socket_reverse_value);
	__uint(max_entries, 65536);
} cilium_lb_reverse_sk SEC(".maps");
