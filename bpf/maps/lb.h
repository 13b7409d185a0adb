/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/* Services, their backend slots, and the way back. */
#pragma once
#include "../abi/lb.h"

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__type(key, struct service_key);
	__type(value, struct service_value);
	__uint(max_entries, 65536);
	__uint(map_flags, BPF_F_NO_PREALLOC);
} cilium_lb_services SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__type(key, struct slot_key);
	__type(value, struct backend_slot);
	__uint(max_entries, 262144);
} cilium_lb_slots SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__type(key, struct reverse_nat_key);
	__type(value, struct reverse_nat_value);
	__uint(max_entries, 65536);
	__uint(map_flags, BPF_F_NO_PREALLOC);
} cilium_lb_reverse_nat SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__type(key, struct affinity_key);
	__type(value, struct affinity_value);
	__uint(max_entries, 65536);
} cilium_lb_affinity SEC(".maps");
