/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * What every program includes first. Only the kernel's stable interface is used (contexts, headers, helpers), no kernel
 * internals: so the objects need no type dump of the build machine, and nothing to relocate on another kernel.
 */
#pragma once
#include <stdbool.h>
#include <linux/types.h>
#include <linux/bpf.h>
#include <linux/if_ether.h>
#include <linux/in.h>
#include <linux/in6.h>
#include <linux/ip.h>
#include <linux/ipv6.h>
#include <bpf/bpf_helpers.h>
#include <bpf/bpf_endian.h>
#include "../abi/types.h"
#include "../abi/drop_reasons.h"
#include "../abi/events.h"
#include "../config/config.h"

#define inline_fn static __always_inline
#define subprogram static __attribute__((noinline))
#define likely(x) __builtin_expect(!!(x), 1)
#define unlikely(x) __builtin_expect(!!(x), 0)

#include <linux/pkt_cls.h>

#define ETH_HEADER 14
#define AF_INET 2
#define AF_INET6 10
#define NEXTHDR_AUTH IPPROTO_AH
#define NEXTHDR_FRAGMENT IPPROTO_FRAGMENT
#define ICMPV6 58

#define TCP_FIN 1
#define TCP_SYN 2
#define TCP_RST 4
#define TCP_ACK 16

#define IDENTITY_HOST 1
#define IDENTITY_WORLD 2
#define IDENTITY_REMOTE_NODE 6
#define IDENTITY_KUBE_APISERVER 7

/*
 * A failure carries its reason and the place that found it in one negative number, so that the drop event and the
 * metric can name the line. Layout: reason 8 bits, file 5, line above.
 */
#define FAIL_AT(file, reason) (-(int)((reason) | ((file) << 8) | (__LINE__ << 13)))
#define FAIL_REASON(code) ((__u8)(-(code)))
#define FAIL_FILE(code) (((__u32)(-(code)) >> 8) & 31)
#define FAIL_LINE(code) ((__u16)((__u32)(-(code)) >> 13))

/*
 * Seconds of the monotonic clock, from ticks of 2^24 ns. The coarse clock costs a few ns instead of twenty; 2^24/1e9 as a 32-bit fixed-point
 * factor saves the division and is off by less than 0.02 s in a year.
 */
inline_fn seconds_t tick_seconds(__u64 tick)
{
	return (seconds_t)((tick * 72057594ULL) >> 32);
}
