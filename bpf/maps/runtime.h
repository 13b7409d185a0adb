/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
#pragma once
#include "../abi/runtime.h"

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__type(key, struct runtime_key);
	__type(value, struct runtime_config);
	__uint(max_entries, 1);
	__uint(map_flags, BPF_F_MMAPABLE);
} cilium_runtime SEC(".maps");
