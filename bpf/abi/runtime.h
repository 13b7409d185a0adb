/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/* Values that change while programs run: one mmapable array element. */
#pragma once
#include "types.h"

struct runtime_key {
	__u32 index;			/* always 0 */
};

struct runtime_config {
	__u64 policy_epoch;		/* raised after every change of policy, identity or ipcache; stale flows ask policy again */
	__u32 audit_mode;		/* 1: the whole node audits */
	__u32 pad;
};
