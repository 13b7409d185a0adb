/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
#pragma once
#include "../abi/metrics.h"
#include "../abi/prefilter.h"

struct {
	__uint(type, BPF_MAP_TYPE_LPM_TRIE);
	__type(key, struct cidr_deny_key);
	__type(value, struct cidr_deny_value);
	__uint(max_entries, 16384);
	__uint(map_flags, BPF_F_NO_PREALLOC);
} cilium_cidr_deny SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__type(key, struct xdp_metrics_key);
	__type(value, struct metrics_value);
	__uint(max_entries, 4);
} cilium_xdp_metrics SEC(".maps");
