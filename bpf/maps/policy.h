/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/* Rule set number to its trie of entries. The inner map here is a template; the agent makes one per rule set, sized by content. */
#pragma once
#include "../abi/policy.h"

struct policy_inner_map {
	__uint(type, BPF_MAP_TYPE_LPM_TRIE);
	__type(key, struct policy_key);
	__type(value, struct policy_entry);
	__uint(max_entries, 16384);
	__uint(map_flags, BPF_F_NO_PREALLOC);
};

struct {
	__uint(type, BPF_MAP_TYPE_HASH_OF_MAPS);
	__type(key, rule_set_id_t);
	__uint(max_entries, 4096);
	__array(values, struct policy_inner_map);
} cilium_policy SEC(".maps");

/* The compiler describes a type fully only where a variable has it; loaders read the inner map's sizes from there. */
const struct policy_key policy_key_type = {};
const struct policy_entry policy_entry_type = {};
