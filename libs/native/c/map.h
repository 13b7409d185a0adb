// SPDX-License-Identifier: Apache-2.0
// What the files about maps share.
#pragma once
#include "binding.h"

struct map_shape {
	uint32_t type, key_size, value_size, max_entries, flags, id;
	size_t stored_size;	// bytes of one value as system calls see it: per-CPU maps carry one per possible CPU
	char name[16];
};

bool map_shape(int fd, struct map_shape *shape, struct failure *failure);

void register_map_batches(napi_env env, napi_value exports);
