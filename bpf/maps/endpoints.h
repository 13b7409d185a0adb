/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/* Local pods: by the address they own, and by the device they live behind. */
#pragma once
#include "../abi/endpoint.h"

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__type(key, struct lxc_key);
	__type(value, struct lxc_value);
	__uint(max_entries, 16384);
} cilium_lxc SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__type(key, struct endpoint_key);
	__type(value, struct endpoint_value);
	__uint(max_entries, 4096);
} cilium_endpoints SEC(".maps");
