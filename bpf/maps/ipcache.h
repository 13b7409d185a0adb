/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/* Address to identity. Exact addresses are five times cheaper in a hash than in a trie; only prefixes use the trie. */
#pragma once
#include "../abi/ipcache.h"

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__type(key, struct ipcache_exact_key);
	__type(value, struct ipcache_value);
	__uint(max_entries, 512000);
	__uint(map_flags, BPF_F_NO_PREALLOC);
} cilium_ipcache_exact SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_LPM_TRIE);
	__type(key, struct ipcache_prefix_key);
	__type(value, struct ipcache_value);
	__uint(max_entries, 512000);
	__uint(map_flags, BPF_F_NO_PREALLOC);
} cilium_ipcache SEC(".maps");
