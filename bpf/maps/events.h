/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/* The event ring, and how many records each CPU wanted to write: lost = sequence seen minus records read. */
#pragma once
#include "../abi/events.h"

struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, 1048576);
} cilium_events SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__type(key, __u32);
	__type(value, __u32);
	__uint(max_entries, 1);
} cilium_event_seq SEC(".maps");
