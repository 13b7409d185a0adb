/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/* What one run of a program knows of its packet, and how it tells the world: metrics and the event ring. */
#pragma once
#include "parse.h"
#include "../maps/events.h"
#include "../maps/metrics.h"
#include "../maps/runtime.h"
#include "../abi/conntrack.h"

struct run {
	struct packet packet;
	struct ip_addr original_ip;	/* source before reverse translation */
	nsec_t time;			/* of the run's events, read when the first is written */
	seconds_t now;
	__u32 tick;			/* the same clock in steps of 16.8 ms, low half */
	__u32 epoch;			/* low half of the policy epoch */
	identity_t source_identity;
	identity_t destination_identity;
	rule_set_id_t rule_set;
	origin_id_t origin;
	service_id_t service;
	__u32 audit;
	endpoint_id_t endpoint;
	endpoint_id_t peer_endpoint;
	be16_t policy_port;
	__u8 direction;			/* enum traffic_direction */
	__u8 ct_state;
	__u8 match_type;
	__u8 file;
	__u8 ring_full;			/* no room a moment ago: the next event of this run is lost as well */
	__u8 loopback;			/* a pod picked itself as the backend of a service */
	struct ct_entry entry;		/* room to write a connection or a service choice in */
} __attribute__((aligned(8)));

/*
 * One per CPU rather than on the stack: a call chain has 512 bytes, and the verifier need not follow every byte.
 * Programs run with bottom halves off and never inside one another, so nobody else uses it meanwhile.
 */
struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__type(key, __u32);
	__type(value, struct run);
	__uint(max_entries, 1);
} cilium_scratch SEC(".maps");

#define WAKEUP_BYTES 65536

/*
 * The reader looks every few ms by itself. It is woken once for each WAKEUP_BYTES that gather meanwhile, not at every
 * record behind that mark: waking interrupts this CPU and costs more than the record.
 */
inline_fn __u64 wakeup_wanted(__u32 record)
{
	__u64 waiting = bpf_ringbuf_query(&cilium_events, BPF_RB_AVAIL_DATA);

	return waiting / WAKEUP_BYTES != (waiting - record) / WAKEUP_BYTES ? BPF_RB_FORCE_WAKEUP : BPF_RB_NO_WAKEUP;
}

inline_fn __u8 metric_direction(__u8 direction)
{
	return direction == DIR_EGRESS ? METRIC_EGRESS : METRIC_INGRESS;
}

subprogram void count_drop(__u32 reason_direction_file, __u32 line, __u32 bytes)
{
	struct metrics_key key = {
		.reason = reason_direction_file & 0xff,
		.direction = (reason_direction_file >> 8) & 0xff,
		.file = (reason_direction_file >> 16) & 0xff,
		.line = line,
	};
	struct metrics_value *value = bpf_map_lookup_elem(&cilium_metrics, &key);

	if (value) {
		value->packets++;
		value->bytes += bytes;
		return;
	}
	struct metrics_value first = { .packets = 1, .bytes = bytes };
	bpf_map_update_elem(&cilium_metrics, &key, &first, BPF_ANY);
}

inline_fn void count_forward(struct __sk_buff *skb, const struct run *r)
{
	struct forwarded_key key = { .place = metric_direction(r->direction) << FORWARDED_FILE_BITS | r->file };
	struct metrics_value *value = bpf_map_lookup_elem(&cilium_forwarded, &key);

	if (value) {
		value->packets++;
		value->bytes += skb->len;
	}
}

struct event_record {
	struct packet_event head;
	__u8 bytes[EVENT_CAPTURE_MAX];
};

/*
 * `place`: file << 16 | line. The sequence number moves even if the ring is full: that is how losses are counted; the
 * map holds the number of the CPU's last event.
 */
subprogram int emit_event(struct __sk_buff *skb, struct run *r, __u32 type_subtype, __u32 place)
{
	__u32 zero = 0, captured = skb->len;
	__u32 *sequence = bpf_map_lookup_elem(&cilium_event_seq, &zero);
	__u32 number = sequence ? ++(*sequence) : 0;
	struct event_record *event;

	if (r->ring_full)
		return 0;	/* counted above */
	event = bpf_ringbuf_reserve(&cilium_events, sizeof(*event), 0);
	if (!event) {
		r->ring_full = 1;
		return 0;
	}
	if (captured > EVENT_CAPTURE_MAX)
		captured = EVENT_CAPTURE_MAX;
	event->head.type = type_subtype >> 8;
	event->head.subtype = type_subtype;
	event->head.direction = r->direction;
	event->head.ct_state = r->ct_state;
	event->head.file = place >> 16;
	event->head.flags = r->packet.flags & PACKET_IPV6 ? EVENT_IPV6 : 0;
	event->head.line = place;
	if (!r->time)
		r->time = bpf_ktime_get_ns();
	event->head.time = r->time;
	event->head.hash = bpf_get_hash_recalc(skb);
	event->head.sequence = number;
	event->head.source_identity = r->source_identity;
	event->head.destination_identity = r->destination_identity;
	event->head.ifindex = skb->ifindex;
	event->head.rule_set = r->rule_set;
	event->head.origin = r->origin;
	event->head.endpoint = r->endpoint;
	event->head.peer_endpoint = r->peer_endpoint;
	event->head.original_length = skb->len;
	event->head.captured_length = captured;
	event->head.cpu = bpf_get_smp_processor_id();
	event->head.match_type = r->match_type;
	event->head.protocol = r->packet.protocol;
	address_copy(&event->head.original_ip, &r->original_ip);
	event->head.service = r->service;
	event->head.policy_port = r->policy_port;
	event->head.pad = 0;
	if (captured < 1 || bpf_skb_load_bytes(skb, 0, event->bytes, captured) < 0)
		event->head.captured_length = 0;
	bpf_ringbuf_submit(event, wakeup_wanted(sizeof(*event) + BPF_RINGBUF_HDR_SZ));
	return 0;
}

#define EVENT_KIND(type, subtype) ((type) << 8 | (subtype))

/* Always the last word of a run that fails. */
subprogram int drop(struct __sk_buff *skb, struct run *r, int code)
{
	__u32 reason = FAIL_REASON(code), file = FAIL_FILE(code), line = FAIL_LINE(code);

	count_drop(reason | metric_direction(r->direction) << 8 | file << 16, line, skb->len);
	if (has(CONFIG_DROP_EVENTS))
		emit_event(skb, r, EVENT_KIND(EVENT_DROP, reason), file << 16 | line);
	return TC_ACT_SHOT;
}

inline_fn struct run *run_start(__u8 direction, __u8 file)
{
	__u32 zero = 0;
	struct runtime_config *runtime = bpf_map_lookup_elem(&cilium_runtime, &zero);
	struct run *r = bpf_map_lookup_elem(&cilium_scratch, &zero);
	__u64 tick;

	if (!r)
		return 0;
	tick = bpf_ktime_get_coarse_ns() >> 24;
	r->tick = tick;
	r->now = tick_seconds(tick);
	r->time = 0;
	r->epoch = runtime ? (__u32)runtime->policy_epoch : 0;
	r->audit = runtime ? runtime->audit_mode : 0;
	((struct address_halves *)&r->original_ip)->high = 0;
	((struct address_halves *)&r->original_ip)->low = 0;
	r->source_identity = r->destination_identity = 0;
	r->rule_set = r->origin = r->service = 0;
	r->endpoint = r->peer_endpoint = 0;
	r->policy_port = 0;
	r->direction = direction;
	r->ct_state = 0;
	r->match_type = 0;
	r->file = file;
	r->ring_full = 0;
	r->loopback = 0;
	/* What the CPU's last packet left behind must not speak for one that cannot be read. */
	r->packet.flags = r->packet.protocol = 0;
	return r;
}
