/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/* Connections: find, keep alive, promote, create. One entry serves both directions and both endpoints on this node. */
#pragma once
#include "run.h"
#include "../maps/conntrack.h"

#define HANDSHAKES 256

struct handshakes {
	__u32 open;			/* begun in cilium_ct_global and not over */
	seconds_t since;		/* those begun before have expired */
};

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__type(key, __u32);
	__type(value, struct handshakes);
	__uint(max_entries, 1);
} cilium_handshakes SEC(".maps");

/* Until when the table of half-open flows may hold one that lives: usually it is empty, and nobody need look. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__type(key, __u32);
	__type(value, seconds_t);
	__uint(max_entries, 1);
} cilium_half_open_until SEC(".maps");

struct flow {
	struct ct_key key;
	struct ct_entry *entry;		/* 0: a new flow */
	bool from_high;			/* this packet's sender is the high end */
	bool origin;			/* this packet goes the opener's way */
	bool half_open;			/* found in the table of those */
	bool taken;			/* a live flow has the tuple, the other way round: it keeps its entry */
	bool report;			/* worth a trace event */
} __attribute__((aligned(8)));

/* Which end is "low" only has to be the same for both directions, so raw words are compared, not numbers. */
inline_fn void flow_key(struct flow *f, const struct packet *p, __u8 kind)
{
	const struct address_halves *s = (const void *)&p->source, *d = (const void *)&p->destination;
	bool swap;

	if (likely(s->low != d->low))
		swap = s->low > d->low;
	else if (s->high != d->high)
		swap = s->high > d->high;
	else
		swap = p->source_port > p->destination_port;
	if (swap) {
		address_copy(&f->key.low, &p->destination);
		address_copy(&f->key.high, &p->source);
		f->key.port_low = p->destination_port;
		f->key.port_high = p->source_port;
	} else {
		address_copy(&f->key.low, &p->source);
		address_copy(&f->key.high, &p->destination);
		f->key.port_low = p->source_port;
		f->key.port_high = p->destination_port;
	}
	f->from_high = swap;
	f->key.protocol = p->protocol;
	f->key.kind = kind;
	f->key.pad = 0;
}

inline_fn bool is_pure_syn(const struct packet *p)
{
	return p->protocol == IPPROTO_TCP && (p->tcp_flags & (TCP_SYN | TCP_ACK)) == TCP_SYN &&
	       !(p->flags & PACKET_RELATED);
}

inline_fn bool ct_closing(__u16 flags)
{
	return (flags & CT_RST) || (flags & (CT_FIN_ORIGIN | CT_FIN_REPLY)) == (CT_FIN_ORIGIN | CT_FIN_REPLY);
}

inline_fn bool half_open_possible(seconds_t now)
{
	__u32 zero = 0;
	seconds_t *until = bpf_map_lookup_elem(&cilium_half_open_until, &zero);

	return !until || *until > now;
}

/* Before an entry is written or lives on there. */
inline_fn void half_open_expected(seconds_t now)
{
	__u32 zero = 0;
	seconds_t *until = bpf_map_lookup_elem(&cilium_half_open_until, &zero);

	if (until)
		*(volatile seconds_t *)until =
			now + (config.ct_tcp_syn > config.ct_tcp_closing ? config.ct_tcp_syn : config.ct_tcp_closing) + 1;
}

inline_fn struct ct_entry *ct_find(struct flow *f, seconds_t now)
{
	struct ct_entry *entry;

	f->half_open = false;
	if (f->key.protocol != IPPROTO_TCP) {
		entry = bpf_map_lookup_elem(&cilium_ct_any_global, &f->key);
		return entry && entry->expires > now ? entry : 0;
	}
	entry = bpf_map_lookup_elem(&cilium_ct_global, &f->key);
	if (likely(entry && entry->expires > now))
		return entry;
	if (likely(!half_open_possible(now)))
		return 0;
	f->half_open = true;
	entry = bpf_map_lookup_elem(&cilium_ct_half_open, &f->key);
	return entry && entry->expires > now ? entry : 0;
}

/*
 * Fills `f` for the packet. A SYN finds a closing flow over: the port is used again, nothing of the old flow may
 * colour the new one. A SYN against the opener's direction is a new flow as well.
 */
inline_fn void ct_lookup(struct run *r, struct flow *f)
{
	struct packet *p = &r->packet;

	flow_key(f, p, CT_FLOW);
	f->report = f->taken = false;
	f->entry = ct_find(f, r->now);
	if (!f->entry) {
		f->origin = true;
		r->ct_state = CT_NEW;
		return;
	}
	f->origin = !!(f->entry->flags & CT_ORIGIN_HIGH) == f->from_high;
	if (unlikely(is_pure_syn(p)) && (!f->origin || ct_closing(f->entry->flags))) {
		if (ct_closing(f->entry->flags))
			f->entry->expires = 0;
		else
			f->taken = true;
		f->entry = 0;
		f->origin = true;
		r->ct_state = CT_NEW;
		return;
	}
	r->ct_state = p->flags & PACKET_RELATED ? CT_RELATED : f->origin ? CT_ESTABLISHED : CT_REPLY;
}

/* The opener answered the answer: this is a real connection. */
subprogram int ct_promote(struct ct_key *key, struct ct_entry *entry)
{
	if (bpf_map_update_elem(&cilium_ct_global, key, entry, BPF_ANY) < 0)
		return 0;
	bpf_map_delete_elem(&cilium_ct_half_open, key);
	return 1;
}

/*
 * May a handshake begin in the table of established flows? Only one that comes to its end makes room for another within
 * the lifetime of a half-open flow, as nothing else proves that the opener exists.
 */
inline_fn bool handshake_begins(seconds_t now)
{
	__u32 zero = 0;
	struct handshakes *h = bpf_map_lookup_elem(&cilium_handshakes, &zero);

	if (!h)
		return false;
	if (now - h->since >= config.ct_tcp_syn) {
		h->since = now;
		h->open = 0;
	}
	if (h->open >= HANDSHAKES)
		return false;
	h->open++;
	return true;
}

inline_fn void handshake_ends(void)
{
	__u32 zero = 0;
	struct handshakes *h = bpf_map_lookup_elem(&cilium_handshakes, &zero);

	if (h && h->open)
		h->open--;
}

inline_fn seconds_t ct_lifetime(__u8 protocol, __u16 flags, bool half_open)
{
	if (protocol != IPPROTO_TCP)
		return config.ct_any;
	if (ct_closing(flags))
		return config.ct_tcp_closing;
	return half_open ? config.ct_tcp_syn : config.ct_tcp;
}

/* After the verdict: refreshes what exists. Fields are written only if they change, to keep cache lines clean. */
inline_fn void ct_update(struct run *r, struct flow *f, __u32 bytes)
{
	struct ct_entry *entry = f->entry;
	struct packet *p = &r->packet;
	__u16 flags = entry->flags;
	__u8 seen = f->origin ? entry->tcp_flags_origin : entry->tcp_flags_reply;
	seconds_t reported = f->origin ? entry->reported_origin : entry->reported_reply;
	seconds_t expires;
	bool half_open;

	if (p->flags & PACKET_RELATED)
		return;
	if (p->tcp_flags & TCP_FIN)
		flags |= f->origin ? CT_FIN_ORIGIN : CT_FIN_REPLY;
	if (p->tcp_flags & TCP_RST)
		flags |= CT_RST;
	if (!f->origin)
		flags |= CT_SEEN_REPLY;
	half_open = f->half_open || (flags & CT_HALF_OPEN);
	if (unlikely(half_open) && f->origin && (flags & CT_SEEN_REPLY) && !(p->tcp_flags & TCP_SYN)) {
		half_open = false;
		if (flags & CT_HALF_OPEN)
			handshake_ends();
		flags &= ~CT_HALF_OPEN;
	}
	if (unlikely(flags != entry->flags))
		entry->flags = flags;
	expires = r->now + ct_lifetime(p->protocol, flags, half_open);
	if (unlikely(expires != entry->expires))
		entry->expires = expires;
	if (unlikely((p->tcp_flags & ~seen & (TCP_FIN | TCP_SYN | TCP_RST)) ||
		     r->now - reported >= config.trace_interval)) {
		f->report = true;
		if (f->origin)
			entry->reported_origin = r->now;
		else
			entry->reported_reply = r->now;
	}
	if (f->origin) {
		entry->packets_origin++;
		entry->bytes_origin += bytes;
		if (unlikely(p->tcp_flags & ~seen))
			entry->tcp_flags_origin = seen | p->tcp_flags;
	} else {
		entry->packets_reply++;
		entry->bytes_reply += bytes;
		if (unlikely(p->tcp_flags & ~seen))
			entry->tcp_flags_reply = seen | p->tcp_flags;
	}
	if (unlikely(f->half_open) && half_open)
		half_open_expected(r->now);
	else if (unlikely(f->half_open))
		ct_promote(&f->key, entry);
}

#define CT_FAIL(reason) FAIL_AT(FILE_LIB_CONNTRACK, reason)

/* `ok`: CT_EGRESS_OK and CT_INGRESS_OK as judged in this run. */
subprogram int ct_create(struct run *r, struct flow *f, __u32 ok, __u32 bytes)
{
	struct packet *p = &r->packet;
	bool tcp = p->protocol == IPPROTO_TCP, direct = tcp && !f->taken && handshake_begins(r->now);
	struct ct_entry *entry = &r->entry;
	long error;

	*entry = (struct ct_entry){
		.expires = r->now + (tcp ? config.ct_tcp_syn : config.ct_any),
		.flags = ok | (f->from_high ? CT_ORIGIN_HIGH : 0) | (direct ? CT_HALF_OPEN : 0),
		.tcp_flags_origin = p->tcp_flags,
		.epoch_egress = r->epoch,
		.epoch_ingress = r->epoch,
		.reported_origin = r->now,
		.service = r->service,
		.source_identity = r->source_identity,
		.destination_identity = r->destination_identity,
		.packets_origin = 1,
		.bytes_origin = bytes,
	};
	if (direct) {
		error = bpf_map_update_elem(&cilium_ct_global, &f->key, entry, BPF_ANY);
	} else if (tcp) {
		half_open_expected(r->now);
		error = bpf_map_update_elem(&cilium_ct_half_open, &f->key, entry, BPF_ANY);
	} else {
		error = bpf_map_update_elem(&cilium_ct_any_global, &f->key, entry, BPF_ANY);
	}

	return error ? CT_FAIL(DROP_CT_INSERTION_FAILED) : 0;
}
