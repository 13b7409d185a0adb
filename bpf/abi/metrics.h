/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/* Per-CPU counters by reason, direction and source line. */
#pragma once
#include "types.h"

enum metric_direction {
	METRIC_UNKNOWN = 0,
	METRIC_INGRESS = 1,
	METRIC_EGRESS = 2,
	METRIC_SERVICE = 3,
};

struct metrics_key {
	__u8 reason;			/* enum drop_reason */
	__u8 direction;			/* enum metric_direction */
	__u16 line;
	__u8 file;			/* enum source_file */
	__u8 pad[3];
};

struct metrics_value {
	__u64 packets;
	__u64 bytes;
};

/* Forwarded packets have counters of their own, in an array: they are counted one by one, a hash would cost more. */
struct forwarded_key {
	__u32 place;			/* enum metric_direction << FORWARDED_FILE_BITS | enum source_file */
};

enum forwarded {
	FORWARDED_FILE_BITS = 5,
	FORWARDED_PLACES = 128,
};

struct xdp_metrics_key {
	__u32 verdict;			/* enum xdp_verdict */
};

enum xdp_verdict {
	XDP_VERDICT_PASS = 0,
	XDP_VERDICT_DROP = 1,
	XDP_VERDICT_TX = 2,
	XDP_VERDICT_REDIRECT = 3,
	XDP_VERDICTS = 4,
};
